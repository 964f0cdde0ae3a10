"""The commands of `ff-coordinator`, one a file."""
