"""Which examples a run uses, and what the teacher said about them."""
