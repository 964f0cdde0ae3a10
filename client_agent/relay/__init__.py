"""The client side of the wire: send once, receive, resume."""
