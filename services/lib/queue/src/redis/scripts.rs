//! The scripts, each with the common prelude before it; sent by their digest, and whole where the server does not know
//! them yet.

use std::sync::LazyLock;

use link::redis::Script;

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("prelude.lua"), "\n", include_str!($file))));)*
    };
}

/// Without the prelude: its first line must come first.
pub static REPLY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("reply.lua")));

scripts! {
    APPEND "append.lua"
    SETTLE "settle.lua"
    RECLAIM "reclaim.lua"
    RECOVER "recover.lua"
    HOLDERS "holders.lua"
    LEAVE "leave.lua"
    GROUP "group.lua"
    DEPTH "depth.lua"
    LETTERS "letters.lua"
    LETTER "letter.lua"
    MEMBERS "members.lua"
    SPEND "spend.lua"
}
