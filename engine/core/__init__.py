"""The compiled room: state, decisions and the wire. It imports nothing of `engine`."""
