"""From the float network to an int8 flatbuffer, and what that costs."""
