//! The currencies that a price can be in.

use contracts::Invalid;

/// A currency of ISO 4217, with the number of decimals that its smallest coin needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency {
    code: &'static str,
    decimals: u32,
}

impl Currency {
    /// Accepts the codes in use, in capitals.
    pub(crate) fn parse(raw: &str) -> Result<Self, Invalid> {
        let found = CODES.iter().find_map(|(decimals, codes)| {
            let code = codes.split_ascii_whitespace().find(|code| *code == raw)?;
            Some(Self { code, decimals: *decimals })
        });
        let reason = "must be a currency of ISO 4217 in use, in capitals, such as EUR";
        found.ok_or_else(|| Invalid::new("unknown-currency", reason))
    }

    pub(crate) fn code(self) -> &'static str {
        self.code
    }

    /// How many decimals an amount has.
    pub(crate) fn decimals(self) -> u32 {
        self.decimals
    }
}

/// ISO 4217, list one, as its maintenance agency published it on 2026-01-01, by minor units. Codes
/// without minor units (metals, units of account, tests) are left out: nothing is sold in them.
const CODES: &[(u32, &str)] = &[
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
         CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
         GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
         LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
         NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
         SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
         XAD XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_have_the_decimals_of_their_smallest_coin() {
        for (code, decimals) in [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!((currency.code(), currency.decimals()), (code, decimals));
        }
    }

    #[test]
    fn what_is_no_currency_in_use_is_refused() {
        for raw in ["", "usd", "US", "USDX", "DEM", "HRK", "XAU", "XXX", "U D", " ", "USD "] {
            assert_eq!(Currency::parse(raw).unwrap_err().code, "unknown-currency", "{raw:?}");
        }
    }

    #[test]
    fn every_code_of_the_table_is_found_and_stands_once() {
        let codes: Vec<_> =
            CODES.iter().flat_map(|(_, codes)| codes.split_ascii_whitespace()).collect();
        let distinct: std::collections::BTreeSet<_> = codes.iter().collect();
        assert_eq!((codes.len(), distinct.len()), (165, 165));
        assert!(codes.iter().all(|code| Currency::parse(code).unwrap().code() == *code));
    }
}
