"""How a peer server is told what to load: the names of two environment variables."""

FOLDER, INTRA_OP = "PEER_FOLDER", "PEER_INTRA_OP"
