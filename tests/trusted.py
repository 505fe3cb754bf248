"""What operators of unit tests trust, and tokens that need no file."""

from longshore_operator.pool_namespaces import EVERY, PoolNamespaces
from longshore_operator.pool_tokens import PoolTokens

NO_TOKENS = PoolTokens("here", None, None)
TRUST = PoolNamespaces({name: frozenset({EVERY}) for name in ("here", "demo", "default")})
"""Three pool namespaces, each of which may serve all."""
