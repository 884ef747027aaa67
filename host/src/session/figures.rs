//! Tokens and money as people read them.

/// `1,234,567`
#[must_use]
pub fn tokens(figure: u64) -> String {
    let digits = figure.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Millionths of a US dollar as dollars with so many decimals, at most six; what is less is rounded up, so that nothing that cost
/// something looks free.
#[must_use]
pub fn usd(micros: u64, decimals: u32) -> String {
    let decimals = decimals.clamp(1, 6);
    let unit = 10_u64.pow(6 - decimals);
    let rounded = micros.div_ceil(unit);
    let whole = 10_u64.pow(decimals);
    format!("{}.{:0width$}", tokens(rounded / whole), rounded % whole, width = decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_and_nothing_that_cost_something_looks_free() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(tokens), ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!([0, 1, 10_000, 5_000_000, 1_234_567_890].map(|micros| usd(micros, 2)), ["0.00", "0.01", "0.01", "5.00", "1,234.57"]);
        assert_eq!((usd(1, 4), usd(1_234_500, 4), usd(7, 6)), ("0.0001".into(), "1.2345".into(), "0.000007".into()));
        assert!(usd(u64::MAX, 2).starts_with("18,446,744,073,709."));
    }
}
