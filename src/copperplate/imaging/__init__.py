"""Pictures as bytes: headers, decoding, encoding, and the memory that takes."""
