"""The wire: gRPC services, the client, and the translation between messages and the core."""

import os

# gRPC's own log names the addresses of its peers, and no log of ours may; set before it starts.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
