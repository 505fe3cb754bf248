"""How many workers each pool has: what there is to do, what that makes, and the way there and back."""
