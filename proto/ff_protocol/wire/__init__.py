"""Generated from relay.proto by `make proto`; not edited by hand."""
