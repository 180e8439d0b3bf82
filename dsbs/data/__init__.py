"""Which examples a run uses, joined to the teacher's annotations."""
