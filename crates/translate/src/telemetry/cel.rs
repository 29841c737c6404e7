//! Syntax of CEL. Envoy refuses a whole listener for one expression that it cannot read, so each is read here first.
//!
//! It is the grammar of the CEL specification (doc/langdef.md, Syntax) and nothing more: whether attributes and
//! functions are there is Envoy's to know.

/// How deep brackets may stand in each other: far more than people write, far less than a stack holds.
const MAX_DEPTH: u32 = 100;

/// Words that are no identifiers, but for fields.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
];

/// Calls whose first argument is the name of a variable.
const WITH_VARIABLE: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];

/// Operators between operands, the longer ones first.
const OPERATORS: [&str; 13] = ["||", "&&", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// An identifier, or a word that is a literal.
    Word(&'a str),
    /// A number or a string.
    Literal,
    /// An operator or a bracket.
    Sign(&'a str),
}

/// Whether an expression can be read.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(expression: &str) -> Result<(), String> {
    let tokens = tokens(expression)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    parser.expression()?;
    match parser.peek() {
        None => Ok(()),
        Some(_) => parser.fail("an operator or the end"),
    }
}

/// Tokens with the number of the character that each begins at.
fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut counted = (0, 0);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let bytes = text.len() - rest.len();
        counted = (bytes, counted.1 + text[counted.0..bytes].chars().count());
        let at = counted.1 + 1;
        let (token, length) = if let Some(length) = string(rest).map_err(|what| format!("{what} at {at}"))? {
            (Token::Literal, length)
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            (Token::Literal, number(rest))
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Word(&rest[..end]), end)
        } else if let Some(sign) = OPERATORS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(&rest[..sign.len()]), sign.len())
        } else if "()[]{}.,:?!".contains(first) {
            (Token::Sign(&rest[..1]), 1)
        } else {
            return Err(format!("unexpected character {first:?} at {at}"));
        };
        found.push((at, token));
        rest = &rest[length..];
    }
}

/// Length of the string that a text begins with; `None` when it begins with none.
fn string(text: &str) -> Result<Option<usize>, &'static str> {
    let prefix = text.len() - text.trim_start_matches(['r', 'R', 'b', 'B']).len();
    let (prefixes, body) = text.split_at(prefix.min(2));
    let raw = prefixes.contains(['r', 'R']);
    let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(*quote)) else {
        return Ok(None);
    };
    let mut rest = &body[quote.len()..];
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            return Ok(Some(text.len() - after.len()));
        }
        let mut characters = rest.chars();
        match characters.next() {
            None => return Err("a string without end"),
            Some('\n') if quote.len() == 1 => return Err("a string without end"),
            Some('\\') if !raw => {
                rest = escaped(characters.as_str()).ok_or("an unknown escape in a string")?;
            }
            Some(_) => rest = characters.as_str(),
        }
    }
}

/// What follows an escape, of which the backslash is gone.
fn escaped(text: &str) -> Option<&str> {
    let kind = text.chars().next()?;
    let after = &text[kind.len_utf8()..];
    let (digits, radix, from) = match kind {
        '\\' | '?' | '"' | '\'' | '`' | 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' => return Some(after),
        'x' | 'X' => (2, 16, after),
        'u' => (4, 16, after),
        'U' => (8, 16, after),
        '0'..='3' => (3, 8, text),
        _ => return None,
    };
    let number = from.get(..digits)?;
    number.chars().all(|c| c.is_digit(radix)).then(|| &from[digits..])
}

/// Length of the number that a text begins with.
fn number(text: &str) -> usize {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unsigned = |length: usize| length + usize::from(text[length..].starts_with(['u', 'U']));
    if let Some(hexadecimal) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let rest = hexadecimal.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        return unsigned(text.len() - rest.len());
    }
    let mut length = digits(text);
    let whole = length;
    if text[length..].starts_with('.') && digits(&text[length + 1..]) > 0 {
        length += 1 + digits(&text[length + 1..]);
    }
    if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        if digits(&exponent[sign..]) > 0 {
            length += 1 + sign + digits(&exponent[sign..]);
        }
    }
    if length == whole { unsigned(length) } else { length }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token<'a>)],
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|(_, token)| *token)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = self.peek() == Some(Token::Sign(sign));
        self.at += usize::from(there);
        there
    }

    fn wants(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { self.fail(&format!("{sign:?}")) }
    }

    fn fail<T>(&self, wanted: &str) -> Result<T, String> {
        Err(match self.tokens.get(self.at) {
            Some((at, Token::Word(text) | Token::Sign(text))) => {
                format!("{text:?} at {at}, where {wanted} should be")
            }
            Some((at, Token::Literal)) => format!("a literal at {at}, where {wanted} should be"),
            None => format!("the end, where {wanted} should be"),
        })
    }

    fn expression(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
        }
        self.chain()?;
        if self.takes("?") {
            self.chain()?;
            self.wants(":")?;
            self.expression()?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Operands with operators between them. Which operator binds closer decides nothing here.
    fn chain(&mut self) -> Result<(), String> {
        loop {
            self.operand()?;
            match self.peek() {
                Some(Token::Sign(sign)) if OPERATORS.contains(&sign) => self.at += 1,
                Some(Token::Word("in")) => self.at += 1,
                _ => return Ok(()),
            }
        }
    }

    fn operand(&mut self) -> Result<(), String> {
        let not = self.takes("!");
        while (not && self.takes("!")) || (!not && self.takes("-")) {}
        let mut named = self.primary()?;
        loop {
            if self.takes(".") {
                let Some(Token::Word(field)) = self.peek() else { return self.fail("the name of a field") };
                self.at += 1;
                if self.takes("(") {
                    self.arguments(field, true)?;
                    named = false;
                }
            } else if self.takes("[") {
                self.expression()?;
                self.wants("]")?;
                named = false;
            } else if named && self.takes("{") {
                self.members(true)?;
                named = false;
            } else {
                return Ok(());
            }
        }
    }

    /// True for a name, which may be that of a message.
    fn primary(&mut self) -> Result<bool, String> {
        let rooted = self.takes(".");
        let Some(token) = self.peek() else { return self.fail("a value") };
        match token {
            Token::Word(word) if !RESERVED.contains(&word) => {
                self.at += 1;
                if self.takes("(") {
                    self.arguments(word, false)?;
                    return Ok(false);
                }
                return Ok(!matches!(word, "true" | "false" | "null"));
            }
            Token::Literal if !rooted => self.at += 1,
            Token::Sign("(") if !rooted => {
                self.at += 1;
                self.expression()?;
                self.wants(")")?;
            }
            Token::Sign("[") if !rooted => {
                self.at += 1;
                self.list("]")?;
            }
            Token::Sign("{") if !rooted => {
                self.at += 1;
                self.members(false)?;
            }
            _ => return self.fail("a value"),
        }
        Ok(false)
    }

    fn arguments(&mut self, function: &str, of_member: bool) -> Result<(), String> {
        if of_member && WITH_VARIABLE.contains(&function) {
            let tokens: Vec<Token<'_>> =
                self.tokens[self.at..].iter().take(2).map(|(_, token)| *token).collect();
            if !matches!(tokens[..], [Token::Word(_), Token::Sign(",")]) {
                return self.fail(&format!("the name of the variable of {function}()"));
            }
        }
        let from = self.at;
        self.list(")")?;
        if function == "has" && !of_member {
            let inside = &self.tokens[from..self.at - 1];
            let selects = matches!(inside, [.., (_, Token::Sign(".")), (_, Token::Word(_))]);
            if !selects {
                return Err("has() asks for a field, such as has(request.headers)".to_owned());
            }
        }
        Ok(())
    }

    /// Expressions between commas until a bracket closes.
    fn list(&mut self, close: &str) -> Result<(), String> {
        while !self.takes(close) {
            self.expression()?;
            if !self.takes(",") {
                return self.wants(close);
            }
        }
        Ok(())
    }

    /// Entries of a map, or fields of a message, until the brace closes.
    fn members(&mut self, of_message: bool) -> Result<(), String> {
        while !self.takes("}") {
            if of_message {
                let Some(Token::Word(_)) = self.peek() else { return self.fail("the name of a field") };
                self.at += 1;
            } else {
                self.expression()?;
            }
            self.wants(":")?;
            self.expression()?;
            if !self.takes(",") {
                return self.wants("}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn expressions_are_read() {
        for good in [
            "response.code >= 400",
            "'x-envoy-logged' in request.headers",
            r#"request.path.startsWith("/a") && !has(request.headers.x) || -1 < - 2u"#,
            "request.headers['a'].matches(r'\\d+') ? true : false",
            "[1, 0x1F, 2.5e-3, .5,].exists(n, n == response.code)",
            "{'a': 1, 'b': [2]}['a'] == 1 // why",
            "google.protobuf.Duration{seconds: 1} == request.duration",
            "a ? b : c ? d : e",
            r#""""two
lines""" == b'\x00\u00e9\101'"#,
        ] {
            check(good).unwrap_or_else(|message| panic!("{good}: {message}"));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (bad, wanted) in [
            ("", "the end, where a value should be"),
            ("response.code >", "the end, where a value should be"),
            ("a b", "\"b\" at 3, where an operator or the end should be"),
            ("a ? b", "the end, where \":\" should be"),
            ("(a", "the end, where \")\" should be"),
            ("a.", "the end, where the name of a field should be"),
            ("for", "\"for\" at 1, where a value should be"),
            ("!-a", "\"-\" at 2, where a value should be"),
            ("'a", "a string without end at 1"),
            (r"'\q'", "an unknown escape in a string at 1"),
            ("a # b", "unexpected character '#' at 3"),
            ("é", "unexpected character 'é' at 1"),
            ("has(a)", "has() asks for a field, such as has(request.headers)"),
            ("a.all(1, b)", "a literal at 7, where the name of the variable of all() should be"),
        ] {
            assert_eq!(check(bad).unwrap_err(), wanted, "{bad}");
        }
        assert!(check(&"(".repeat(100_000)).unwrap_err().contains("nested"));
        assert!(check(&"a ? b : ".repeat(100_000)).unwrap_err().contains("nested"));
    }
}
