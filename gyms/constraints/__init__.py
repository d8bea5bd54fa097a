"""Instruction constraints: the ids of IFEval, IFBench and open-instruct's training set, and prompts to train on."""
