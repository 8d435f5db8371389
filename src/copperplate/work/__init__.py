"""Work that goes on when nobody waits: promises, and the step that keeps them."""
