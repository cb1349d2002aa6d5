"""How clients ask: one module for each HTTP protocol, in the shape that its clients expect."""
