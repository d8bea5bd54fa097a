"""How the policy is learned: the loop (train.py), the update, the cluster it runs on. Imports every other room."""
