"""Whether an application's routes can be served: builds the whole application as the api process does, and throws it away.

``longshore reload`` runs it in a child before it changes anything (``python -m longshore.api.trial``), with the variable of the
environment that gunicorn would get. It opens no socket, and neither database nor engine is asked.
"""

import sys

from gunicorn.errors import AppImportError


def main() -> None:
    """End with 0, or with 1 and the reason on standard error."""
    from longshore.api.serving import application

    try:
        application()
    except AppImportError as error:
        sys.stderr.write(f"longshore: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
