"""From the float network to an int8 flatbuffer, and what int8 costs."""
