CREATE TABLE boots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended INTEGER
) STRICT;

CREATE TABLE channels (
    channel TEXT PRIMARY KEY,
    cursor TEXT,
    frozen_until TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    model TEXT NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'expired')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (channel, address)
) STRICT;
CREATE INDEX conversations_expiring ON conversations (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    parent INTEGER,
    kind TEXT NOT NULL,
    phase TEXT NOT NULL DEFAULT 'idle',
    next_seq INTEGER NOT NULL DEFAULT 1,
    fold_from INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_conversation ON sessions (conversation);
CREATE INDEX sessions_open ON sessions (phase) WHERE phase NOT IN ('idle', 'closed');

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    conversation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    group_id TEXT,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'taken', 'done', 'aside')),
    session INTEGER,
    turn INTEGER,
    received_at INTEGER NOT NULL,
    UNIQUE (source, external_id)
) STRICT;
CREATE INDEX inbox_new ON inbox (conversation, id) WHERE state = 'new';

CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    seq INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    sum BLOB NOT NULL CHECK (length(sum) = 8),
    UNIQUE (session, seq)
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    conversation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed', 'aside')),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_pending ON outbox (conversation, id) WHERE state = 'pending';

CREATE TABLE parts (
    outbox INTEGER NOT NULL REFERENCES outbox (id),
    n INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'unknown', 'refused')),
    boot INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    remote_id TEXT,
    UNIQUE (outbox, n)
) STRICT;
CREATE INDEX parts_sending ON parts (outbox) WHERE state = 'sending';

CREATE TABLE usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    step INTEGER NOT NULL,
    model TEXT NOT NULL,
    day INTEGER NOT NULL,
    input_uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_micros INTEGER,
    estimated INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_day ON usage (day, model);
CREATE INDEX usage_turn ON usage (session, turn);

CREATE TABLE blob_refs (
    hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (hash, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_owner ON blob_refs (owner);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    plugin TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    boot INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    result TEXT
) STRICT;
CREATE INDEX jobs_running ON jobs (session) WHERE state = 'running';

CREATE TABLE kv (
    plugin TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (plugin, scope, key)
) STRICT;
CREATE INDEX kv_scopes ON kv (scope) WHERE key = '';

CREATE TABLE people (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE strangers (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 0,
    hinted_at INTEGER,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;
