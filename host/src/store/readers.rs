//! Reading: a few connections of their own, so that reads never wait for the writer nor it for them.
//!
//! A read transaction holds back the write-ahead log, so none is longer than one short statement; long lists are read in
//! pages of [`limits::READ_ROWS`].

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{StoreError, schema};
use crate::limits;

/// The connections.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
}

/// Gives the connection back, also after a panic.
struct Borrowed {
    conn: Option<Connection>,
    home: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

impl Readers {
    pub fn open(database: &Path) -> Result<Self, StoreError> {
        let idle = (0..limits::READERS).map(|_| schema::open_reader(database)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), free: Arc::new(Semaphore::new(limits::READERS)) })
    }

    /// Runs `read` on a thread that may block.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let free = self.free.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let home = self.idle.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _free = free;
            let conn = home.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let borrowed = Borrowed { conn, home };
            borrowed.conn.as_ref().map_or(Err(StoreError::Closed), read)
        });
        match reading.await {
            Ok(result) => result,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(StoreError::Closed),
        }
    }
}
