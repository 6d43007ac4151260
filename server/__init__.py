"""The admission service: the engine's policies over gRPC."""
