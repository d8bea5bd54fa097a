"""What a gym may do to the process and the machine around it: write, start processes, talk to the network."""
