//! Ranges of network addresses in CIDR notation: where a key may be used from, and which proxies are believed.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A range of addresses, such as `10.0.0.0/8`, `2001:db8::/32` or a single `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

/// The text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor an address, a slash and a number of bits.
    #[error("must be a range of addresses such as 10.0.0.0/8 or 2001:db8::/32, or one address")]
    Form,
    /// Most likely another range was meant.
    #[error("has bits beyond its length; write {0}")]
    BitsBeyond(Cidr),
    /// Callers over IPv4 are always compared as such.
    #[error("is an IPv4 range written as IPv6; write it as IPv4")]
    Mapped,
}

impl Cidr {
    /// Whether `address` lies within. An IPv4 address in the form of an IPv6 one is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// The address with all but its first `bits` bits cleared.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((a.to_bits() & mask).into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((a.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(s: &str) -> Result<Self, CidrError> {
        let (address, bits) = s.split_once('/').map_or((s, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| CidrError::Form)?;
        if address.to_canonical() != address {
            return Err(CidrError::Mapped);
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = |b: &&str| !b.is_empty() && b.bytes().all(|c| c.is_ascii_digit());
        let bits = match bits {
            None => most,
            Some(b) => {
                Some(b).filter(plain).and_then(|b| b.parse().ok()).filter(|b| *b <= most).ok_or(CidrError::Form)?
            }
        };
        let range = Self { first: masked(address, bits), bits };
        if range.first == address { Ok(range) } else { Err(CidrError::BitsBeyond(range)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
        s.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(range: &str, address: &str) -> bool {
        range.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_holds_what_shares_its_first_bits() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "10.0.0.1"),
        ] {
            assert!(holds(range, inside), "{inside} in {range}");
            assert!(!holds(range, outside), "{outside} in {range}");
        }
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"), "as a socket for both families gives it");
    }

    #[test]
    fn what_is_no_range_is_refused_with_a_reason() {
        for bad in
            ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129", "10.0.0.0/8/8", "localhost"]
        {
            assert_eq!(bad.parse::<Cidr>(), Err(CidrError::Form), "{bad}");
        }
        assert_eq!(
            "10.0.0.1/8".parse::<Cidr>().unwrap_err().to_string(),
            "has bits beyond its length; write 10.0.0.0/8"
        );
        assert_eq!("::ffff:10.0.0.0/104".parse::<Cidr>(), Err(CidrError::Mapped));
    }

    proptest! {
        #[test]
        fn a_range_is_written_as_it_is_read(address: u32, bits in 0u8..=32) {
            let range = Cidr { first: masked(IpAddr::V4(address.into()), bits), bits };
            prop_assert_eq!(range.to_string().parse::<Cidr>(), Ok(range));
            prop_assert!(range.contains(IpAddr::V4(address.into())));
        }
    }
}
