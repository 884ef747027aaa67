//! Items as they are sent, and streams as servers send them.

mod requests;
mod streams;
