"""Triggers that see every settlement of a latent promise, and what the audit trail says of it.

PostgreSQL refuses to commit a transaction that settles without a row of its own. SQLite has no
deferred triggers: a ledger holds what is settled until the row comes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_LATENT = {
    "postgresql": "new.is_external and not new.tags ? 'resonate:target'"
    " and coalesce(new.tags ->> 'resonate:timer', '') <> 'true'",
    "sqlite": "new.is_external and json_extract(new.tags, '$.\"resonate:target\"') is null"
    " and coalesce(json_extract(new.tags, '$.\"resonate:timer\"'), '') <> 'true'",
}

_POSTGRESQL = """
create function check_trail() returns trigger language plpgsql as $$
begin
  if not exists (
    select 1 from signoff_auditentry
    where target = new.id and is_effective and state_before = 'pending'
    and state_after = new.state and transaction = pg_current_xact_id()::text::bigint
  ) then
    raise exception 'no audit row for %', new.id;
  end if;
  return null;
end $$;
create constraint trigger check_born after insert on durable_promise
  deferrable initially deferred for each row
  when (new.state <> 'pending' and {latent}) execute function check_trail();
create constraint trigger check_settled after update on durable_promise
  deferrable initially deferred for each row
  when (old.state = 'pending' and new.state <> 'pending' and {latent})
  execute function check_trail();
"""

_SQLITE = """
create table settled_unheard (id text, state text);
create trigger check_born after insert on durable_promise
  when new.state <> 'pending' and {latent}
  begin insert into settled_unheard values (new.id, new.state); end;
create trigger check_settled after update of state on durable_promise
  when old.state = 'pending' and new.state <> 'pending' and {latent}
  begin insert into settled_unheard values (new.id, new.state); end;
create trigger check_heard after insert on signoff_auditentry
  when new.is_effective and new.state_before = 'pending'
  begin delete from settled_unheard where id = new.target and state = new.state_after; end;
"""

_DROP = {
    "postgresql": "drop function check_trail cascade",
    "sqlite": "drop trigger check_born; drop trigger check_settled; drop trigger check_heard;"
    " drop table settled_unheard",
}


def run_script(sql: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executescript(sql)
        else:
            cursor.execute(sql)


def unheard() -> list[str]:
    """Promises that were settled and of which the trail does not say so; SQLite only."""
    if connection.vendor != "sqlite":
        return []
    with connection.cursor() as cursor:
        cursor.execute("select id from settled_unheard")
        return [one for (one,) in cursor.fetchall()]


@contextmanager
def watching() -> Iterator[None]:
    """Watch all settlements that commit inside the block."""
    scripts = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
    run_script(scripts[connection.vendor].format(latent=_LATENT[connection.vendor]))
    try:
        yield
        for one in unheard():
            raise AssertionError(f"no audit row for {one}")
    finally:
        run_script(_DROP[connection.vendor])
