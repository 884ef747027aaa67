//! Between the operating system's values and those of `wasi:filesystem`.

use std::io;

use rustix::fs::{FileType, Stat, Timespec, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::sync::filesystem::types;

/// Which object something is: device and inode.
pub(super) type Identity = (u64, u64);

pub(super) fn os(error: Errno) -> FsError {
    failed(error.into())
}

pub(super) fn failed(error: io::Error) -> FsError {
    error_code(&error).into()
}

/// wasmtime-wasi knows most of them; these it calls `io`.
pub(super) fn error_code(error: &io::Error) -> ErrorCode {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::DQUOT) => ErrorCode::Quota,
        Some(Errno::XDEV) => ErrorCode::CrossDevice,
        Some(Errno::ROFS) => ErrorCode::ReadOnly,
        Some(Errno::NXIO) => ErrorCode::NoSuchDevice,
        Some(Errno::TXTBSY) => ErrorCode::TextFileBusy,
        _ => ErrorCode::from(error),
    }
}

pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(super) fn descriptor_type(kind: FileType) -> types::DescriptorType {
    match kind {
        FileType::RegularFile => types::DescriptorType::RegularFile,
        FileType::Directory => types::DescriptorType::Directory,
        FileType::Symlink => types::DescriptorType::SymbolicLink,
        FileType::Fifo => types::DescriptorType::Fifo,
        FileType::Socket => types::DescriptorType::Socket,
        FileType::CharacterDevice => types::DescriptorType::CharacterDevice,
        FileType::BlockDevice => types::DescriptorType::BlockDevice,
        FileType::Unknown => types::DescriptorType::Unknown,
    }
}

pub(super) fn descriptor_stat(stat: &Stat) -> types::DescriptorStat {
    types::DescriptorStat {
        type_: descriptor_type(file_type(stat)),
        link_count: stat.st_nlink,
        size: size(stat),
        data_access_timestamp: datetime(stat.st_atime, stat.st_atime_nsec),
        data_modification_timestamp: datetime(stat.st_mtime, stat.st_mtime_nsec),
        status_change_timestamp: datetime(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// None before 1970: WASI cannot say it.
fn datetime(seconds: i64, nanoseconds: u64) -> Option<types::Datetime> {
    Some(types::Datetime { seconds: u64::try_from(seconds).ok()?, nanoseconds: u32::try_from(nanoseconds).ok()? })
}

pub(super) fn timespec(time: types::NewTimestamp) -> Result<Timespec, ErrorCode> {
    match time {
        types::NewTimestamp::NoChange => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
        types::NewTimestamp::Now => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }),
        types::NewTimestamp::Timestamp(time) if time.nanoseconds < 1_000_000_000 => {
            Ok(Timespec { tv_sec: i64::try_from(time.seconds).map_err(|_| ErrorCode::Overflow)?, tv_nsec: time.nanoseconds.into() })
        }
        types::NewTimestamp::Timestamp(_) => Err(ErrorCode::Overflow),
    }
}

/// A mix of device and inode: equal for the same object, and no guest can read the numbers from it by eye.
pub(super) fn metadata_hash((device, inode): Identity) -> types::MetadataHashValue {
    let mix = |mut value: u64| {
        value ^= value >> 33;
        value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
        value ^= value >> 33;
        value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        value ^ (value >> 33)
    };
    let lower = mix(inode ^ device.rotate_left(32));
    types::MetadataHashValue { lower, upper: mix(lower ^ inode.rotate_left(17) ^ device) }
}

pub(super) fn advice(advice: types::Advice) -> rustix::fs::Advice {
    match advice {
        types::Advice::Normal => rustix::fs::Advice::Normal,
        types::Advice::Sequential => rustix::fs::Advice::Sequential,
        types::Advice::Random => rustix::fs::Advice::Random,
        types::Advice::WillNeed => rustix::fs::Advice::WillNeed,
        types::Advice::DontNeed => rustix::fs::Advice::DontNeed,
        types::Advice::NoReuse => rustix::fs::Advice::NoReuse,
    }
}
