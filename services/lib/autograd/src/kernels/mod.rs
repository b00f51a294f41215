//! The loops that all time is spent in, compiled for the vector instructions that this machine turns out to have.
//! Callers: the operators. The only place of this crate where `unsafe` is allowed; every kernel has a twin without
//! vector instructions, and the tests of this module hold each level against it.

#![expect(unsafe_code, reason = "vector instructions, after the machine was asked for them; raw reads in two tiles")]

mod columns;
mod depthwise;
mod elementwise;
mod grouped;
mod matrix;
mod pack;
mod rows;
#[cfg(test)]
mod tests;
mod tiles;

pub use columns::{Affine, Flow, Through, column_sums, moments, norm_act, norm_act_back, norm_act_sums};
pub use depthwise::{Window, depthwise, depthwise_inputs, depthwise_weights};
pub use elementwise::{Unary, add, unary, unary_back};
pub use grouped::{gather_group, spread_group};
pub use matrix::{NONE, Product, Rows, Sums, outer, product};
pub use pack::{Stack, pack};
pub use rows::{layer_norm, layer_norm_back, softmax, softmax_back};

/// Which vector instructions the kernels use. Only those that the machine has can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Level {
    /// All that this machine has, the fastest first, the plain one last.
    pub fn all() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512() {
                found.push(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Kind::Avx2));
            }
        }
        found.push(Self(Kind::Plain));
        found
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::all().first().copied().unwrap_or(Self(Kind::Plain))
    }

    /// Columns that a packed matrix has side by side.
    pub const fn width(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => tiles::avx512::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => tiles::avx2::WIDTH,
            Kind::Plain => tiles::plain::WIDTH,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// `a · b + c`, in one instruction where the machine has it; without it the library's routine would be far slower.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// A safe function, compiled once for each level; `FMA` says inside whether there is a fused multiplication.
macro_rules! kernel {
    ($(#[$doc:meta])* pub fn $name:ident $(<const $g:ident : usize>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name $(<const $g: usize>)? (level: $crate::kernels::Level, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn each<$(const $g: usize,)? const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            fn avx512 $(<const $g: usize>)? ($($arg: $ty),*) $(-> $ret)? {
                each::<$($g,)? true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<const $g: usize>)? ($($arg: $ty),*) $(-> $ret)? {
                each::<$($g,)? true>($($arg),*)
            }
            match level.0 {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a level can only be had where the machine has its instructions.
                $crate::kernels::Kind::Avx512 => unsafe { avx512 $(::<$g>)? ($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::kernels::Kind::Avx2 => unsafe { avx2 $(::<$g>)? ($($arg),*) },
                $crate::kernels::Kind::Plain => each::<$($g,)? false>($($arg),*),
            }
        }
    };
}
use kernel;
