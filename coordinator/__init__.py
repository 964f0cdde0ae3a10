"""The relay and the authority: `ff-coordinator`. Needs no numerical library."""
