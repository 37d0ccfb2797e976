//! The error numbers that programs see, with the values of the Hermit ABI
//! (which are Linux's).

use core::fmt;
use serde::{Deserialize, Serialize};

/// An error number; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($value);)*

            /// What the number means, in a few words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(number) => write!(f, "Errno({number})"),
                }
            }
        }
    };
}

errnos! {
    PERM = 1, "operation not permitted";
    NOENT = 2, "no such file or directory";
    INTR = 4, "interrupted";
    IO = 5, "input/output error";
    BADF = 9, "bad file descriptor";
    AGAIN = 11, "try again";
    NOMEM = 12, "out of memory";
    ACCES = 13, "permission denied";
    BUSY = 16, "busy";
    EXIST = 17, "file exists";
    XDEV = 18, "crosses file systems";
    NOTDIR = 20, "not a directory";
    ISDIR = 21, "is a directory";
    INVAL = 22, "invalid argument";
    NFILE = 23, "too many open files on this node";
    MFILE = 24, "too many open files";
    FBIG = 27, "file too large";
    NOSPC = 28, "no space left on the file system";
    SPIPE = 29, "cannot seek";
    PIPE = 32, "broken pipe";
    NAMETOOLONG = 36, "file name too long";
    NOSYS = 38, "not implemented";
    NOTEMPTY = 39, "directory not empty";
    LOOP = 40, "too many symbolic links";
    NOTSOCK = 88, "not a socket";
    DESTADDRREQ = 89, "destination address required";
    MSGSIZE = 90, "message too long";
    NOPROTOOPT = 92, "no such option";
    PROTONOSUPPORT = 93, "protocol not supported";
    OPNOTSUPP = 95, "operation not supported";
    AFNOSUPPORT = 97, "address family not supported";
    ADDRINUSE = 98, "address in use";
    ADDRNOTAVAIL = 99, "address not available";
    NETUNREACH = 101, "network unreachable";
    CONNABORTED = 103, "connection aborted";
    CONNRESET = 104, "connection reset";
    NOBUFS = 105, "no room for it";
    ISCONN = 106, "already connected";
    NOTCONN = 107, "not connected";
    CONNREFUSED = 111, "connection refused";
    HOSTUNREACH = 113, "host unreachable";
    ALREADY = 114, "already under way";
    INPROGRESS = 115, "under way";
    STALE = 116, "stale file handle";
    TIMEDOUT = 110, "timed out";
    CANCELED = 125, "canceled";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.text(), self.0)
    }
}

impl core::error::Error for Errno {}
