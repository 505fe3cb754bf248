"""``longshore token``: the file of token hashes."""

import os
from pathlib import Path

import click

from longshore import settings
from longshore.api import tokens as api_tokens
from longshore.cli.output import table


def _path(file: Path | None) -> Path:
    found = file or settings.load().settings.tokens_file
    if found is None:
        raise click.UsageError("say which file with --file or LONGSHORE_TOKENS_FILE")
    return found


file_option = click.option(
    "--file", type=click.Path(path_type=Path), help="Tokens file; LONGSHORE_TOKENS_FILE by default."
)


@click.group()
def token() -> None:
    """Make, list and revoke bearer tokens; the service reads the file again when it changes."""


@token.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(api_tokens.ROLES), default="submit", show_default=True, help="What it may do."
)
@file_option
def new(name: str, role: str, file: Path | None) -> None:
    """Make a token, print it once, keep its hash."""
    path = _path(file)
    if not name.isprintable() or any(letter.isspace() or letter == "#" for letter in name):
        raise click.UsageError("a name has no spaces and no #")
    if path.exists() and any(found.name == name for found in api_tokens.parse(path.read_text(), str(path))):
        raise click.ClickException(f"there is a token named {name} in {path}; revoke it first")
    secret = api_tokens.new_token()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(fd, "a") as lines:
        lines.write(f"{role} {name} {api_tokens.digest(secret)}\n")
    click.echo(secret)
    click.echo(f"keep it: only its hash is in {path}", err=True)


@token.command(name="list")
@file_option
def list_tokens(file: Path | None) -> None:
    """Show names and roles."""
    path = _path(file)
    found = api_tokens.parse(path.read_text(), str(path))
    table(("NAME", "ROLE", "HASH"), [(line.name, line.role, line.digest[:12] + "…") for line in found])


@token.command()
@click.argument("name")
@file_option
def revoke(name: str, file: Path | None) -> None:
    """Take a token's line out of the file."""
    path = _path(file)
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.split("#")[0].split()[1:2] != [name]]
    if len(kept) == len(lines):
        raise click.ClickException(f"there is no token named {name} in {path}")
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # left by a revoke that was interrupted, with whatever mode
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as remaining:
        remaining.writelines(kept)
    draft.replace(path)
    click.echo(f"revoked {name}")
