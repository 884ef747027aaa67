//! Every numeric bound, with its unit and the reason for it. What an operator may change is in the configuration; these
//! are its defaults and what nobody should have to change.

use std::time::Duration;

// ── One call of a component ─────────────────────────────────────────────────────────────────────────────────────────

/// Linear memory of a sandbox. One big `memory.copy` checks the epoch once, so this also bounds how late a stop can be.
pub const GUEST_MEMORY_BYTES: usize = 64 << 20;
/// Elements of all tables of a sandbox. JavaScript needs 7,709 for each of a few.
pub const GUEST_TABLE_ELEMENTS: usize = 200_000;
/// Core modules, tables and memories of a sandbox.
pub const GUEST_CORE_INSTANCES: usize = 256;
/// See [`GUEST_CORE_INSTANCES`].
pub const GUEST_TABLES: usize = 256;
/// See [`GUEST_CORE_INSTANCES`].
pub const GUEST_MEMORIES: usize = 16;
/// What a guest may have the host allocate while values are copied across the border.
pub const HOSTCALL_FUEL_BYTES: usize = 16 << 20;
/// Resource handles of one call, in the engine's table and in ours.
pub const GUEST_HANDLES: usize = 1024;
/// Host calls of one call. A guest that makes more is in a loop.
pub const HOST_CALLS: u64 = 5_000_000;
/// Bytes that one `get-random-bytes` may ask for.
pub const RANDOM_BYTES: u64 = 64 << 10;
/// How often the epoch moves; a looping guest is stopped at most this late.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);
/// Frames of a trap's backtrace.
pub const BACKTRACE_FRAMES: usize = 20;
/// Stack of a guest.
pub const GUEST_STACK_BYTES: usize = 1 << 20;
/// Wall time of a tool call when neither the tool nor the operator says otherwise.
pub const TOOL_TIME: Duration = Duration::from_secs(10 * 60);
/// What passes between the end of a call's time or grace and the answer, when even its thread does not come back.
pub const WEDGED_AFTER: Duration = Duration::from_secs(1);
/// What a guest has to return after it was told to stop.
pub const STOP_GRACE: Duration = Duration::from_millis(500);
/// The same while the host is shutting down.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(200);
/// Standard output and error kept of a call: head and tail; the middle is counted.
pub const GUEST_OUTPUT_BYTES: usize = 64 << 10;
/// Log lines of one call, and the length of each; the rest is counted.
pub const LOG_LINES: u32 = 1000;
/// Length of a log line with its fields.
pub const LOG_LINE_BYTES: usize = 4 << 10;
/// A tool's answer before it is shortened for the model.
pub const OUTPUT_BYTES: usize = 8 << 20;
/// Parts of a tool's answer: also an empty one is kept and shown.
pub const OUTPUT_PARTS: usize = 256;
/// The media type or name of a file in a tool's answer.
pub const FILE_WORD_BYTES: usize = 256;
/// Calls that one answer of a model may ask for; vendors give at most 128.
pub const ANSWER_CALLS: usize = 256;
/// What the model sees of one answer, in characters; beyond it a preview and a notice.
pub const MODEL_OUTPUT_CHARS: usize = 100_000;
/// The preview of an answer over [`MODEL_OUTPUT_CHARS`].
pub const MODEL_PREVIEW_CHARS: usize = 80_000;
/// Text of an error that a guest returns.
pub const ERROR_MESSAGE_BYTES: usize = 4 << 10;
/// A code, a request's id or another short word of a provider.
pub const FAILURE_WORD_BYTES: usize = 256;
/// One step or note of a plan, or a line of progress.
pub const PROGRESS_BYTES: usize = 4 << 10;
/// Steps of a plan.
pub const PLAN_STEPS: usize = 100;
/// Messages that one call may say.
pub const SAYS: u32 = 100;
/// Items of a model's answer that the preview tells apart.
pub const PREVIEW_ITEMS: usize = 4096;
/// The line for the person who watches.
pub const SUMMARY_BYTES: usize = 200;

// ── Components that ask others ──────────────────────────────────────────────────────────────────────────────────────

/// Components that one call goes through: one that asks another, which asks another.
pub const HELPER_DEPTH: usize = 3;
/// Times that one call, with all that it asks for help, may ask.
pub const HELPER_CALLS: u32 = 32;
/// Calls that wait for another component at the same time. Each holds one of [`CALL_THREADS_MAX`]; those that answer need some, too.
pub const HELPERS_WAITING: usize = 64;
/// Results of one search, whoever asks.
pub const SEARCH_HITS: u32 = 200;
/// The text of a query or of a prompt.
pub const HELPER_TEXT_BYTES: usize = 256 << 10;
/// Images that one call gives or gets.
pub const IMAGES: usize = 16;
/// One image by value. The contract says it, as it does the next one.
pub const DRAWN_IMAGE_BYTES: usize = 8 << 20;
/// All images that one call gives or gets.
pub const DRAWN_BYTES: usize = 12 << 20;

// ── Files of one call ───────────────────────────────────────────────────────────────────────────────────────────────

/// Bytes that one call may write.
pub const WRITTEN_BYTES: u64 = 1 << 30;
/// Files and directories that one call may create.
pub const CREATED_ENTRIES: u64 = 10_000;
/// Files and directories that one call may have open.
pub const OPEN_FILES: usize = 256;
/// What one read of a file brings at most.
pub const FILE_CHUNK_BYTES: usize = 64 << 10;
/// What one look into a directory brings at most; about a thousand entries.
pub const LISTING_BYTES: usize = 32 << 10;
/// Refusals of one call that are kept for its error message.
pub const FILE_DENIALS: usize = 16;
/// The path of such a refusal.
pub const DENIED_PATH_BYTES: usize = 256;
/// The path that an open file or directory is remembered by, for messages.
pub const SHOWN_PATH_BYTES: usize = 1024;
/// A plugin's `/data` in total.
pub const DATA_BYTES: u64 = 256 << 20;
/// What each entry of `/data` counts beside its contents: about what a file system needs for one, and it bounds their number.
pub const DATA_ENTRY_BYTES: u64 = 4 << 10;

// ── What plugins keep in the store ──────────────────────────────────────────────────────────────────────────────────

/// A key, in bytes. The contract says it, as it does the next three.
pub const STORAGE_KEY_BYTES: usize = 256;
/// A value.
pub const STORAGE_VALUE_BYTES: usize = 64 << 10;
/// Keys and values of one plugin in one scope, all together.
pub const STORAGE_SCOPE_BYTES: u64 = 1 << 20;
/// What a key counts beside its contents: about what its row needs in the table and the index, and it bounds their number.
pub const STORAGE_ENTRY_BYTES: u64 = 128;
/// Keys that one listing brings.
pub const STORAGE_KEYS: usize = 1000;

// ── Components ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// A component file.
pub const COMPONENT_BYTES: u64 = 64 << 20;
/// Its manifest.
pub const MANIFEST_BYTES: usize = 256 << 10;
/// A text in it that people see, such as a name or a request; and the name of an interface.
pub const MANIFEST_TEXT_BYTES: usize = 4 << 10;
/// Imports and exports of a component. JavaScript has about fifty.
pub const INTERFACES: usize = 1000;
/// Their names, all together.
pub const INTERFACES_BYTES: usize = 64 << 10;
/// A tool's description.
pub const DESCRIPTION_BYTES: usize = 4 << 10;
/// A tool's schema.
pub const SCHEMA_BYTES: usize = 32 << 10;
/// Tools of one component.
pub const CATALOG_TOOLS: usize = 256;
/// What is said to be wrong with one catalogue; the rest is counted.
pub const CATALOG_PROBLEMS: usize = 20;
/// A tool's description that `plugin check` remarks on: the model reads it at every step.
pub const DESCRIPTION_LONG_BYTES: usize = 1 << 10;
/// One catalogue. It reads nothing and waits for nothing.
pub const CATALOG_TIME: Duration = Duration::from_secs(10);
/// After its start the host's catalogues wait so long for components that are still being compiled; later ones are left out.
pub const CATALOG_WAIT: Duration = Duration::from_secs(60);
/// Questions for the catalogue of a component without an answer before it is refused for that.
pub const CATALOG_TRIES: u32 = 3;
/// What failed in a way that may pass is tried again after this; after twice as long each further time.
pub const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest of these pauses.
pub const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// What a compiled pattern of a schema may take.
pub const PATTERN_BYTES: usize = 256 << 10;
/// Patterns of one schema.
pub const SCHEMA_PATTERNS: usize = 64;
/// Nodes of one schema with every reference written out.
pub const SCHEMA_NODES: u64 = 10_000;
/// How deep a schema goes, through references too.
pub const SCHEMA_DEPTH: usize = 256;
/// Steps that checking a value against a recursive schema may take. Each level of the value can double them, so this bounds
/// how deep the value may be.
pub const SCHEMA_STEPS: u64 = 1_000_000;
/// Levels that JSON text may have at all: the parser's own limit.
pub const JSON_DEPTH: usize = 128;
/// `NAME.toml` beside a component.
pub const BESIDE_BYTES: u64 = 256 << 10;
/// Compiled schemas kept.
pub const SCHEMAS_KEPT: usize = 1024;
/// Problems that are named when arguments do not fit a schema; the rest is counted.
pub const SCHEMA_PROBLEMS: usize = 5;
/// One such problem.
pub const SCHEMA_PROBLEM_BYTES: usize = 300;
/// Components in one plugin directory; further ones are left out.
pub const PLUGIN_FILES: usize = 1000;
/// `grants.toml`.
pub const GRANTS_BYTES: u64 = 1 << 20;
/// A temporary file of this age beside the accepted components was left by a power cut: nobody is writing it.
pub const TEMPORARY_KEPT: Duration = Duration::from_secs(60);
/// A file counts as whole when it has looked the same for this long.
pub const SETTLE: Duration = Duration::from_millis(200);
/// How often the files of components are looked at when nothing says that one has changed.
pub const LOOK: Duration = Duration::from_secs(1);
/// A look at them that takes longer is told: a file system may hang.
pub const LOOK_LONG: Duration = Duration::from_secs(10);
/// However much changes, the files are not looked at more often than this.
pub const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// What a turn waits for the catalogues of components that were just exchanged, to tell the model what is new.
pub const TOOLS_NOW: Duration = Duration::from_secs(1);
/// What a component gets to prepare a model for a request that may come.
pub const PREPARE_TIME: Duration = Duration::from_secs(60);
/// Components compiled at the same time.
pub const COMPILERS: usize = 2;
/// How much compilers yield to everything else (0 is normal, 19 the most).
pub const COMPILER_NICENESS: i32 = 10;
/// Threads that run calls, kept warm. More are started while all are busy, up to [`CALL_THREADS_MAX`].
pub const CALL_THREADS_WARM: usize = 4;
/// Calls that run at the same time; the next one waits.
pub const CALL_THREADS_MAX: usize = 256;
/// A thread over [`CALL_THREADS_WARM`] ends after being idle for this long.
pub const CALL_THREAD_IDLE: Duration = Duration::from_secs(10);
/// How long an idle thread looks for the next call before it sleeps: waking a thread costs more than an empty call.
pub const CALL_THREAD_SPIN: Duration = Duration::from_micros(50);

// ── The sandbox pool: address space, not memory ─────────────────────────────────────────────────────────────────────

/// Sandboxes at the same time: every thread's call, with room for catalogues.
pub const POOLED_CALLS: u32 = 256 + 32;
/// Core modules of one component. Rust has 3, Python 14.
pub const POOLED_CORE_INSTANCES: u32 = 32;
/// Linear memories of one component.
pub const POOLED_MEMORIES: u32 = 2;
/// Tables of one component.
pub const POOLED_TABLES: u32 = 32;
/// Elements of one table. JavaScript needs 7,709.
pub const POOLED_TABLE_ELEMENTS: usize = 20_000;
/// Unused slots that keep their component's image.
pub const POOLED_WARM_SLOTS: u32 = 16;
/// What a slot keeps of its memory, table and stack when its sandbox ends: wiped, not given back.
pub const POOLED_KEPT_MEMORY: usize = 1 << 20;
/// See [`POOLED_KEPT_MEMORY`].
pub const POOLED_KEPT_TABLE: usize = 256 << 10;
/// See [`POOLED_KEPT_MEMORY`].
pub const POOLED_KEPT_STACK: usize = 128 << 10;

// ── HTTP of a component ─────────────────────────────────────────────────────────────────────────────────────────────

/// What a request's body has of the guest's own.
pub const REQUEST_BYTES: usize = 32 << 20;
/// What it has of blobs, as they are sent: room for one of [`MEDIA_BYTES`] in base64.
pub const REQUEST_BLOB_BYTES: u64 = 96 << 20;
/// A body of pieces is sent in chunks of this size: a multiple of 3, so that each is base64 of its own.
pub const BODY_CHUNK_BYTES: usize = 48 << 10;
/// What is shown of the id of a blob that is none.
pub const BLOB_ID_BYTES: usize = 100;
/// An upload.
pub const UPLOAD_BYTES: u64 = 1 << 30;
/// A response's body, decompressed.
pub const RESPONSE_BYTES: u64 = 256 << 20;
/// Headers of a request or response, all together.
pub const HEADER_BYTES: usize = 64 << 10;
/// Headers of a request.
pub const HEADERS: usize = 256;
/// One `response.read`.
pub const READ_BYTES: usize = 1 << 20;
/// Responses and uploads that one call may have open.
pub const OPEN_RESPONSES: usize = 16;
/// A vendor's answer kept with a failure.
pub const FAILURE_RAW_BYTES: usize = 16 << 10;
/// Redirects that a request may ask to follow.
pub const REDIRECTS: u8 = 10;
/// What connecting may take when the request does not say it.
pub const HTTP_CONNECT: Duration = Duration::from_secs(10);
/// The longest that connecting may take.
pub const HTTP_CONNECT_MAX: Duration = Duration::from_secs(60);
/// Connect timeouts are rounded up to one of these: each is a pool of connections of its own.
pub const HTTP_CONNECT_STEPS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(30),
];
/// How long a server may be silent when the request does not say it.
pub const HTTP_IDLE: Duration = Duration::from_secs(60);
/// What a whole exchange may take when the request does not say it.
pub const HTTP_TOTAL: Duration = Duration::from_secs(10 * 60);
/// The longest of any time that a request may ask for.
pub const HTTP_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

// ── WebSockets of a component ───────────────────────────────────────────────────────────────────────────────────────

/// Connections that one call may have open.
pub const SOCKETS: usize = 4;
/// Frames that came and were not taken: beyond it nothing more is read.
pub const SOCKET_UNREAD_BYTES: usize = 1 << 20;
/// What a frame counts beside its contents.
pub const SOCKET_FRAME_BYTES: usize = 64;
/// One message that comes.
pub const SOCKET_MESSAGE_BYTES: usize = 16 << 20;
/// One message that goes.
pub const SOCKET_SEND_BYTES: usize = 32 << 20;
/// The answer of a server that does not open a connection.
pub const SOCKET_REFUSAL_BYTES: usize = 64 << 10;
/// Parked connections of one plugin in one session with one model; the oldest goes.
pub const PARKED_HERE: usize = 4;
/// Parked connections of one plugin; the oldest goes.
pub const PARKED_OF_PLUGIN: usize = 32;
/// How long a connection stays parked.
pub const PARKED_TIME: Duration = Duration::from_secs(3600);
/// What may come, beside what had come, while a connection is parked, and what may be unread when it is.
pub const PARKED_BYTES: usize = 64 << 10;
/// The key of a parked connection.
pub const PARKED_KEY_BYTES: usize = 256;
/// The note with a parked connection.
pub const PARKED_NOTE_BYTES: usize = 64 << 10;

/// Shorter secrets would be found in innocent text and cannot be redacted.
pub const SECRET_BYTES_MIN: usize = 12;
/// A file with a secret in it: one line.
pub const SECRET_FILE_BYTES: u64 = 64 << 10;

// ── Logins ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// How long before its end a token is renewed.
pub const LOGIN_EARLY: Duration = Duration::from_secs(5 * 60);
/// How old a token gets that does not say when it ends.
pub const LOGIN_AGE: Duration = Duration::from_secs(8 * 24 * 3600);
/// How soon after a failure the server is asked again.
pub const LOGIN_PAUSE: Duration = Duration::from_secs(10);
/// How long a renewed token is not renewed again, whoever rejects it.
pub const LOGIN_REST: Duration = Duration::from_secs(60);
/// How long another process may have the lock of a login: longer than it may wait for the server.
pub const LOGIN_LOCKED: Duration = Duration::from_secs(90);
/// Connecting to the server of logins.
pub const LOGIN_CONNECT: Duration = Duration::from_secs(15);
/// One question to it.
pub const LOGIN_TOTAL: Duration = Duration::from_secs(60);
/// How long a person has to log in.
pub const LOGIN_TIME: Duration = Duration::from_secs(15 * 60);
/// The pause between questions whether they have, where the server names none.
pub const LOGIN_POLL: Duration = Duration::from_secs(5);
/// The longest pause that the server may name.
pub const LOGIN_POLL_MAX: Duration = Duration::from_secs(60);
/// How long whoever comes to that port may take to say what they want.
pub const LOGIN_VISIT: Duration = Duration::from_secs(10);
/// A request of the browser that comes back.
pub const LOGIN_REQUEST_BYTES: usize = 16 << 10;

// ── The store ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Jobs of one group commit.
pub const GROUP_JOBS: usize = 256;
/// Bytes of one group commit.
pub const GROUP_BYTES: usize = 4 << 20;
/// The longest that a write nobody waits for stays in memory.
pub const RIDE_DELAY: Duration = Duration::from_secs(1);
/// Jobs that wait for the writer; the next caller waits to queue.
pub const QUEUE_JOBS: usize = 4096;
/// Connections that read.
pub const READERS: usize = 2;
/// Rows that one read transaction takes of a long list: about 10 ms, far below the 100 ms after which the log grows.
pub const READ_ROWS: usize = 500;
/// Rows that one transaction of a pruning removes.
pub const PRUNE_ROWS: usize = 1000;
/// The write-ahead log is written back to the database when it is longer.
pub const LOG_BYTES: u64 = 4 << 20;
/// After a burst the log file is cut to this.
pub const LOG_KEPT_BYTES: u64 = 64 << 20;
/// How long a reader or writer waits for another program that has the database locked.
pub const DATABASE_WAIT: Duration = Duration::from_secs(5);
/// A single figure of a usage row; larger ones are nonsense of a provider and would overflow the sums.
pub const USAGE_FIGURE: u64 = 1 << 40;
/// A blob without a row is kept this long, because it is written before its row.
pub const BLOB_KEPT: Duration = Duration::from_secs(3600);
/// A payload over this is a blob beside the database.
pub const INLINE_BYTES: usize = 16 << 10;
/// Before a step or a delivery that found the disk full is tried again.
pub const FULL_PAUSE: Duration = Duration::from_secs(2);
/// Before a reply is tried again that its channel could not send and does not say when; doubled with each further try.
pub const DELIVERY_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
pub const DELIVERY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A part of a reply whose arrival nobody knows is sent this often, marked from the second time on.
pub const PART_TRIES: u32 = 5;
/// The wall clock may drift this much from the monotonic one between two rounds of maintenance; after more nothing is
/// forgotten in that round.
pub const CLOCK_DRIFT: Duration = Duration::from_secs(600);
/// How long inbox keys are kept against repeats.
pub const INBOX_KEPT: Duration = Duration::from_secs(72 * 3600);
/// How long a conversation of `ask` is kept.
pub const ASK_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

// ── The process ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// A log file of this length is full: the next line goes to a new one.
pub const LOG_FILE_BYTES: u64 = 16 << 20;
/// Files of the log that are kept, the one that is written included.
pub const LOG_FILES: usize = 7;
/// Lines that `logs` shows unless told otherwise.
pub const LOG_SHOWN: usize = 100;
/// What a host gets to say how it is.
pub const HEALTH_TIME: Duration = Duration::from_secs(10);
/// With less room than this on the work directory's disk `doctor` warns.
pub const DISK_LOW_BYTES: u64 = 1 << 30;
/// With less room than this `doctor` fails.
pub const DISK_FULL_BYTES: u64 = 64 << 20;
/// Sources that have been still for this long are built by `plugin dev`: an editor writes several files at once.
pub const SOURCES_STILL: Duration = Duration::from_millis(150);
/// Sources that never are still are built after this.
pub const SOURCES_RESTLESS: Duration = Duration::from_secs(2);
/// How often who follows a host's log looks for new lines.
pub const LOG_LOOKED_AT: Duration = Duration::from_millis(250);
/// How often a child process that is about to end is looked at.
pub const CHILD_LOOKED_AT: Duration = Duration::from_millis(10);
/// What a build that is interrupted gets to end by itself.
pub const BUILD_GRACE: Duration = Duration::from_secs(2);
/// What `model test` and `doctor --online` wait for a model.
pub const TRIAL_TIME: Duration = Duration::from_secs(60);
/// What `model test` waits for a drawing.
pub const TRIAL_DRAWING_TIME: Duration = Duration::from_secs(5 * 60);

// ── Sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// What a model is assumed to read at once when its entry does not say.
pub const CONTEXT_WINDOW: u64 = 128_000;
/// Waiting for a connection to a model's server.
pub const MODEL_CONNECT_TIME: Duration = Duration::from_secs(10);
/// Silence in a model's stream, the time to its first piece included.
pub const MODEL_IDLE_TIME: Duration = Duration::from_secs(120);
/// One model request from start to end.
pub const MODEL_TOTAL_TIME: Duration = Duration::from_secs(30 * 60);
/// Model requests of one turn.
pub const TURN_STEPS: u32 = 500;
/// Active time of one turn.
pub const TURN_TIME: Duration = Duration::from_secs(2 * 3600);
/// The same call failing this often is remarked to the model.
pub const REPEATS_REMARKED: u32 = 3;
/// The same call failing this often ends the turn.
pub const REPEATS_ENDING: u32 = 5;
/// Spending of one turn, in millionths of a US dollar.
pub const TURN_SPEND_MICROS: u64 = 5_000_000;
/// Spending of one day.
pub const DAY_SPEND_MICROS: u64 = 20_000_000;
/// Tokens of one turn where the price is unknown.
pub const TURN_TOKENS: u64 = 2_000_000;
/// Tokens of one day where the price is unknown.
pub const DAY_TOKENS: u64 = 10_000_000;
/// Attempts of one model request that failed in a way that may pass.
pub const ASK_TRIES: u32 = 5;
/// Wait before the second attempt of a model request; doubled for each further one.
pub const RETRY_BASE: Duration = Duration::from_secs(1);
/// The longest of these waits.
pub const RETRY_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a provider may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
/// What is written to a vendor's cache for so long, or longer, may have a price of its own.
pub const CACHE_LONG: Duration = Duration::from_secs(3600);
/// A model that failed in a way that lasts is not asked for so long, unless its vendor says when it may be.
pub const COOLDOWN: Duration = Duration::from_secs(5 * 60);
/// The shortest and the longest of these times.
pub const COOLDOWN_MIN: Duration = Duration::from_secs(10);
/// See [`COOLDOWN_MIN`].
pub const COOLDOWN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Pictures that a model is sent are at most this wide and high, in pixels.
pub const IMAGE_SIDE: u32 = 2048;
/// … and at most this large.
pub const IMAGE_BYTES: u64 = 5 << 20;
/// The largest PDF that a model is sent.
pub const PDF_BYTES: u64 = 32 << 20;
/// The largest recording that a model is sent.
pub const AUDIO_BYTES: u64 = 25 << 20;
/// No file that a model is sent may be allowed to be larger.
pub const MEDIA_BYTES: u64 = 64 << 20;
/// Pixels of a picture that is decoded: what telephones take unless told otherwise. One takes four bytes, and while it is decoded up to
/// six more.
pub const IMAGE_PIXELS: u64 = 25_000_000;
/// Quality of a JPEG that is written anew, of 100.
pub const JPEG_QUALITY: u8 = 85;
/// How often a picture is written smaller, each time by a quarter of its sides, before that is given up.
pub const IMAGE_ROUNDS: usize = 8;
/// What making one file fit may take; a request waits for it.
pub const FIT_TIME: Duration = Duration::from_secs(30);
/// Files of one request; older ones are named only.
pub const REQUEST_FILES: usize = 20;
/// … and their bytes, all but the newest file's: what vendors take in one request, in base64.
pub const REQUEST_FILES_BYTES: u64 = 20 << 20;
/// Files leave a request in blocks of this size, so that its beginning, and with it the vendor's cache, stays for a while.
pub const REQUEST_FILES_BLOCK: usize = 5;
/// Files kept in memory as they were made for requests, in bytes.
pub const FITTED_BYTES: u64 = 64 << 20;
/// … and their number, those that cannot be sent included.
pub const FITTED_FILES: usize = 1000;
/// What a file is is read from so many of its first bytes.
pub const SNIFFED_BYTES: usize = 16;
/// What estimates take for a file of which nothing else is known, in tokens.
pub const MEDIA_TOKENS: u64 = 1_000;
/// Pixels of a picture that estimates take for a token.
pub const TOKEN_PIXELS: u64 = 750;
/// What they take for a picture at most: vendors make larger ones smaller.
pub const IMAGE_TOKENS: u64 = 3_000;
/// Bytes of a document that they take for a token: a page of text is both about 100 KB and 1,000 tokens.
pub const TOKEN_PDF_BYTES: u64 = 100;
/// Bytes of a recording that they take for a token: at 30 tokens a second, speech of 48 kbit/s.
pub const TOKEN_AUDIO_BYTES: u64 = 200;
/// Attempts of a turn that was running when the host died; then it is set aside.
pub const TURN_ATTEMPTS: u32 = 3;
/// After a longer downtime an unfinished turn waits for `/continue`.
pub const RESUME_WITHIN: Duration = Duration::from_secs(3600);
/// What running calls get when a newer message waits to join.
pub const JOIN_GRACE: Duration = Duration::from_secs(2);
/// After `/cancel` the turn ends at the latest now, whatever its calls do.
pub const CANCEL_GRACE: Duration = Duration::from_millis(1500);
/// How long an operator's stop waits for the end of a turn.
pub const CANCEL_TIME: Duration = Duration::from_secs(10);
/// Rounds of dropping the oldest half when the context is too large.
pub const DROP_ROUNDS: u32 = 3;
/// Without a configured one the history is summarised at this many tenths of what the model reads beside its answer …
pub const COMPACT_AT_TENTHS: u64 = 9;
/// … and this part of that stays as it is.
pub const COMPACT_KEEP_PART: u64 = 10;
/// A history that has grown is summarised when at least this part of it goes.
pub const COMPACTION_WORTH: u64 = 8;
/// Compactions of a turn that gave no summary before none is tried any more, until a person is there.
pub const COMPACTIONS_IN_VAIN: u32 = 2;
/// Summarised before the vendor's cache expires is a history of this many tenths of `compact_at`.
pub const IDLE_COMPACTION_TENTHS: u64 = 4;
/// So long before the cache expires the request for it leaves.
pub const CACHE_MARGIN: Duration = Duration::from_secs(30);
/// What a request for a summary needs beside the history and its answer, in tokens.
pub const SUMMARY_ROOM: u64 = 1_000;
/// What a model is asked to keep a summary within.
pub const SUMMARY_WORDS: u32 = 1_500;
/// What is kept of one.
pub const SUMMARY_CHARS: usize = 32_000;
/// Things that still run, in a summary.
pub const SUMMARY_HANDLES: usize = 32;
/// Each of them.
pub const SUMMARY_HANDLE_CHARS: usize = 300;
/// What each text may have when a history is retold in short: the first that makes it fit, in characters.
pub const RETOLD_CHARS: [usize; 4] = [32_000, 4_000, 1_000, 250];
/// A reply's quotation of a failure.
pub const FAILURE_QUOTED_CHARS: usize = 300;
/// Calls of a turn that have ended and can still be seen while it runs; earlier ones are only counted.
pub const LIVE_CALLS: usize = 50;
/// An idle actor leaves memory after this.
pub const ACTOR_IDLE: Duration = Duration::from_secs(5 * 60);
/// Panics of a session within [`PANIC_WINDOW`] before it is set aside.
pub const PANICS: usize = 5;
/// See [`PANICS`].
pub const PANIC_WINDOW: Duration = Duration::from_secs(60);
/// How often the host notes that it lives: the precision of "downtime".
pub const SEEN: Duration = Duration::from_secs(30);
/// After a start this passes before expired rows are removed.
pub const FIRST_MAINTENANCE: Duration = Duration::from_secs(60);
/// How often expired rows are removed.
pub const MAINTENANCE: Duration = Duration::from_secs(3600);
/// A graceful stop takes at most this long.
pub const STOP_BOUND: Duration = Duration::from_secs(8);
/// What a reply that is on its way gets when the host stops.
pub const LANE_GRACE: Duration = Duration::from_secs(3);
/// One message of a person.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Messages of a conversation that wait or are input of its running turn. More are not taken, and its people are told so.
pub const MAILBOX_MESSAGES: u32 = 256;

// ── Channels ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The public Bot API server.
pub const TELEGRAM_URL: &str = "https://api.telegram.org";
/// How long Telegram may wait for something to say.
pub const TELEGRAM_POLL: Duration = Duration::from_secs(50);
/// A poll that takes so much longer hangs, and is begun anew.
pub const TELEGRAM_POLL_MARGIN: Duration = Duration::from_secs(15);
/// After a poll or a menu of commands that failed; doubled with each further one.
pub const TELEGRAM_RETRY: Duration = Duration::from_secs(1);
/// The longest of these pauses.
pub const TELEGRAM_RETRY_MAX: Duration = Duration::from_secs(30);
/// Telegram may choose new ids after a week without updates.
pub const TELEGRAM_SILENCE: Duration = Duration::from_secs(6 * 24 * 3600);
/// Updates that nobody has fetched for longer are dropped by Telegram.
pub const TELEGRAM_KEPT: Duration = Duration::from_secs(24 * 3600);
/// One call of the Bot API that is neither a poll nor an upload.
pub const TELEGRAM_CALL_TIME: Duration = Duration::from_secs(60);
/// One message with files.
pub const TELEGRAM_UPLOAD_TIME: Duration = Duration::from_secs(600);
/// One file on its way here.
pub const TELEGRAM_DOWNLOAD_TIME: Duration = Duration::from_secs(300);
/// After a refusal of the token this passes before it is used again.
pub const TELEGRAM_UNAUTHORIZED_PAUSE: Duration = Duration::from_secs(60);
/// Up to this much is added to a pause that Telegram asked for.
pub const TELEGRAM_JITTER: Duration = Duration::from_millis(500);
/// A file that the public server gives out.
pub const TELEGRAM_FILE_IN_BYTES: u64 = 20 << 20;
/// A file that a Bot API server of one's own gives out.
pub const TELEGRAM_LOCAL_FILE_BYTES: u64 = 2000 << 20;
/// A file that a bot can send.
pub const TELEGRAM_FILE_OUT_BYTES: u64 = 50 << 20;
/// A picture that is sent as one.
pub const TELEGRAM_PHOTO_BYTES: u64 = 10 << 20;
/// Pictures of one album.
pub const TELEGRAM_ALBUM: usize = 10;
/// What a button carries.
pub const TELEGRAM_BUTTON_BYTES: usize = 64;
/// Messages with files that are fetched at a time.
pub const TELEGRAM_FETCHES: usize = 8;
/// Of these in one conversation.
pub const TELEGRAM_FETCHES_EACH: usize = 2;
/// The name of a file that came with a message, without its extension: file systems have 255 bytes for all of it.
pub const FILE_STEM_BYTES: usize = 180;
/// Tries of one file. One for which Telegram was not reached, or asked to wait, is none.
pub const TELEGRAM_FETCH_TRIES: u32 = 3;
/// An album is whole when nothing was added to it for so long.
pub const ALBUM_QUIET: Duration = Duration::from_millis(1200);
/// How long `send` waits for what becomes of its message.
pub const ERRAND_TIME: Duration = Duration::from_secs(60);
/// Albums in groups that are remembered as being for the bot, and messages of albums that so far are not.
pub const TELEGRAM_ALBUMS: usize = 64;
/// How long a pairing code can be used.
pub const PAIRING_TIME: Duration = Duration::from_secs(10 * 60);
/// Wrong codes of one person; what they say after that is none.
pub const PAIRING_TRIES: u32 = 5;
/// Wrong codes of everybody together before it is void. A code is one of 32^8, about 10^12: so many guesses in its ten minutes
/// find it once in 10^9 codes, and 200 people are needed to make them.
pub const PAIRING_TRIES_OF_ALL: u32 = 1000;
/// Questions to owners about people within [`REQUEST_CARDS_TIME`], and as many about groups; more are only listed.
pub const REQUEST_CARDS: usize = 10;
/// See [`REQUEST_CARDS`].
pub const REQUEST_CARDS_TIME: Duration = Duration::from_secs(3600);
/// Strangers who are told that they are within [`STRANGER_HINTS_TIME`]; the others hear nothing.
pub const STRANGER_HINTS: usize = 10;
/// See [`STRANGER_HINTS`].
pub const STRANGER_HINTS_TIME: Duration = Duration::from_secs(60);
/// People without access who are counted one by one; the others share a counter.
pub const STRANGERS: u64 = 1000;
/// People and groups about whom an owner was asked and has not answered; the oldest makes room for a new one, people first.
pub const REQUESTS: u64 = 200;
/// For so long an owner can answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// New requests about people within [`REQUESTS_NEW_TIME`], and as many about groups. Twice what is shown, and few enough that a flood
/// needs ten hours before a request of somebody else makes room for it.
pub const REQUESTS_NEW: usize = 20;
/// See [`REQUESTS_NEW`].
pub const REQUESTS_NEW_TIME: Duration = Duration::from_secs(3600);
/// Updates that could not be understood and are kept for the operator.
pub const ODDITIES: u64 = 100;
/// What is kept of one.
pub const ODDITY_BYTES: usize = 8 << 10;

// ── The terminal's socket ───────────────────────────────────────────────────────────────────────────────────────────

/// One line of `host.sock`: a message or a reply with its JSON escapes.
pub const SOCKET_LINE_BYTES: usize = 16 << 20;
/// Clients attached at the same time.
pub const SOCKET_CLIENTS: usize = 64;
/// How long a client may take to acknowledge a part that it was sent.
pub const ACK_TIME: Duration = Duration::from_secs(30);
/// How long a client waits for a host that is just starting.
pub const HOST_START: Duration = Duration::from_secs(20);

// ── Telegram: the Bot API ───────────────────────────────────────────────────────────────────────────────────────────

/// One answer of the Bot API, decompressed: a hundred updates of the longest messages.
pub const TELEGRAM_ANSWER_BYTES: usize = 16 << 20;
/// Connecting to the Bot API, with the name's resolution, a proxy and TLS.
pub const TELEGRAM_CONNECT: Duration = Duration::from_secs(10);
/// An unused connection is closed after this. Shorter than what servers and routers on the way keep one for: a request
/// on a connection that they have forgotten ends with an unknown outcome.
pub const TELEGRAM_POOL_IDLE: Duration = Duration::from_secs(20);
/// How long a download may be silent.
pub const TELEGRAM_DOWNLOAD_IDLE: Duration = Duration::from_secs(30);
/// One read of a file that is uploaded.
pub const TELEGRAM_UPLOAD_CHUNK: usize = 256 << 10;
/// What is kept of a failure's text.
pub const TELEGRAM_ERROR_CHARS: usize = 400;
/// A message's text. A plain one has 4,096 UTF-16 units, a rich one 32,768 characters.
pub const TELEGRAM_TEXT_BYTES: usize = 256 << 10;
/// A name, title or file name that came with an update.
pub const TELEGRAM_NAME_CHARS: usize = 200;
/// Text that a message quotes of another one.
pub const TELEGRAM_QUOTE_CHARS: usize = 2000;
/// An id that Telegram gave to a file, an album or a press of a button.
pub const TELEGRAM_ID_BYTES: usize = 1024;
/// Entities of a message that are looked at. Telegram keeps 100.
pub const TELEGRAM_ENTITIES: usize = 200;
/// A 429 that does not say for how long.
pub const TELEGRAM_FREEZE: Duration = Duration::from_secs(5);
/// The longest `retry_after` that is obeyed.
pub const TELEGRAM_FREEZE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Chats whose freeze is remembered; when there are more, the half that ends first is forgotten.
pub const TELEGRAM_FREEZES: usize = 10_000;
/// Between two edits of what shows progress in a private chat.
pub const TELEGRAM_EDIT_PRIVATE: Duration = Duration::from_millis(1200);
/// The same in a group.
pub const TELEGRAM_EDIT_GROUP: Duration = Duration::from_secs(4);
/// After a chat's 429 these are doubled there for so long.
pub const TELEGRAM_EDIT_WIDE: Duration = Duration::from_secs(10 * 60);
/// Chats whose last edit or message is remembered; the rest have long been idle.
pub const TELEGRAM_PACED_CHATS: usize = 10_000;
/// Messages of the bot, all together: so many at once, and one more each [`TELEGRAM_BOT_INTERVAL`]. In no second are there
/// more than 30, which is what Telegram asks for.
pub const TELEGRAM_BOT_BURST: u32 = 10;
/// See [`TELEGRAM_BOT_BURST`].
pub const TELEGRAM_BOT_INTERVAL: Duration = Duration::from_millis(50);
/// Messages to a group that are no answers: in no minute more than 20.
pub const TELEGRAM_GROUP_BURST: u32 = 5;
/// See [`TELEGRAM_GROUP_BURST`].
pub const TELEGRAM_GROUP_INTERVAL: Duration = Duration::from_secs(4);

// ── Telegram: what is sent ──────────────────────────────────────────────────────────────────────────────────────────

/// A message, in UTF-16 units: the Bot API's own limit, as are the next two.
pub const MESSAGE_UNITS: usize = 4096;
/// The caption of a file.
pub const CAPTION_UNITS: usize = 1024;
/// What a message or caption of an answer leaves free, for the mark that it may be a repetition.
pub const MARK_UNITS: usize = 16;
/// Entities of a message or caption; Telegram drops further ones.
pub const MESSAGE_ENTITIES: usize = 100;
/// An answer of more messages is sent as its beginning and a file.
pub const MESSAGE_PARTS_MAX: usize = 6;
/// How deep quotes and lists are shown; what is deeper is shown at this depth. It also bounds the recursion over them.
pub const MARKDOWN_DEPTH: usize = 16;
/// A quote of so many lines or units is collapsed.
pub const QUOTE_LONG_LINES: usize = 6;
/// See [`QUOTE_LONG_LINES`].
pub const QUOTE_LONG_UNITS: usize = 360;
/// A code block of so many lines or units is collapsed.
pub const CODE_LONG_LINES: usize = 15;
/// See [`CODE_LONG_LINES`].
pub const CODE_LONG_UNITS: usize = 600;
/// A table that is wider, in columns of a monospace font, is shown as a list: phones would wrap its lines.
pub const TABLE_COLUMNS: usize = 48;
/// The address behind a link; a longer one is shown as text.
pub const LINK_BYTES: usize = 2048;
/// The language of a code block.
pub const LANGUAGE_BYTES: usize = 32;
/// Files that one answer attaches; further ones are refused.
pub const ATTACHMENTS: usize = 20;
/// The path of one of them.
pub const ATTACHMENT_PATH_BYTES: usize = 1024;

// ── What a person sees in Telegram while a turn runs ────────────────────────────────────────────────────────────────

/// A turn that has run for this long gets a panel, also without a tool call: a quick answer needs none.
pub const PANEL_AFTER: Duration = Duration::from_secs(2);
/// How often a panel is changed only because time passes.
pub const PANEL_TICK: Duration = Duration::from_secs(15);
/// The same once a turn has run for [`PANEL_LONG`].
pub const PANEL_TICK_LONG: Duration = Duration::from_secs(60);
/// See [`PANEL_TICK_LONG`].
pub const PANEL_LONG: Duration = Duration::from_secs(10 * 60);
/// Steps of a plan that a panel shows.
pub const PANEL_STEPS: usize = 8;
/// One line of a panel that a tool or model wrote, in UTF-16 units. All of a panel's lines are far below a message.
pub const PANEL_LINE_UNITS: usize = 160;
/// What a panel shows of the answer that is being written, where there is no other preview of it.
pub const PANEL_TAIL_UNITS: usize = 600;
/// Panels of one turn: a second one when the first was deleted, or nobody knows its number.
pub const PANELS: u8 = 2;
/// Refusals after which a panel is only closed, and a turn's answer is no longer shown in drafts.
pub const PREVIEW_REFUSALS: u8 = 3;
/// A preview or an edit of a panel that is not answered by then is given up.
pub const TELEGRAM_PREVIEW_TIME: Duration = Duration::from_secs(15);
/// A reply waits this long for the preview of its conversation that is on its way; so does the end of the host.
pub const PREVIEW_YIELD: Duration = Duration::from_secs(2);
/// The shortest time between two looks at a session, however often it changes.
pub const SCREEN_PAUSE: Duration = Duration::from_millis(50);
/// When nothing has happened for this long in a conversation, nobody looks at it any more.
pub const SCREEN_IDLE: Duration = Duration::from_secs(60);
/// Pause after a preview did not get through.
pub const PREVIEW_PAUSE: Duration = Duration::from_secs(5);
/// Tries to close a panel when nobody knows whether the last one arrived.
pub const PANEL_CLOSES: u8 = 5;
/// After a restart a panel waits this long for its session to be read.
pub const PANEL_PATIENCE: Duration = Duration::from_secs(30);
/// The end of an answer that is looked at for a preview.
pub const PREVIEW_BYTES: usize = 16 << 10;
/// A draft is sent again before it vanishes: Telegram shows it for about 30 s.
pub const DRAFT_AGAIN: Duration = Duration::from_secs(20);
/// "Typing" is shown for 5 s.
pub const TYPING_AGAIN: Duration = Duration::from_secs(4);
