"""What is asked, and how an answer is verified: the gym contract, its loader, the first gyms and their mixture."""
