"""Sample applications, one module each, built only on Longshore's public surface."""
