"""The assistant's state, nodes and routers."""
