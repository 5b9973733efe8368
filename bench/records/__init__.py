"""Records on disk: schema, storage, index and export."""
