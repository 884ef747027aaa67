//! Each provider in a whole conversation with a fake of its vendor that is as strict.

mod claude;
mod codex;
mod openrouter;
