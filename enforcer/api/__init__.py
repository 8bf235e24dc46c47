"""The wire: gRPC services, the client, and the translation between messages and the core."""
