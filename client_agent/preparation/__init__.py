"""From pixels as stored to the one shape that the whole federation trains and predicts on."""
