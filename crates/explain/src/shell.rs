//! A command line as words, as a shell splits it.

/// The words of a command, and what could not be done as a shell would do it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) words: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// Splits a command as a POSIX shell does, with `$'…'` as browsers copy it; also what they copy for `cmd` of Windows.
/// Nothing is expanded.
pub(crate) fn split(command: &str) -> Line {
    let unescaped = is_for_windows(command).then(|| without_carets(command));
    let command = unescaped.as_deref().unwrap_or(command);
    let mut line = Line::default();
    let mut word: Option<String> = None;
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                // A line that goes on.
                Some('\n') | None => {}
                Some('\r') => drop(characters.next_if_eq(&'\n')),
                Some(next) => word.get_or_insert_default().push(next),
            },
            '\'' => quoted(&mut characters, Quotes::Single, word.get_or_insert_default(), &mut line.notes),
            '"' => quoted(&mut characters, Quotes::Double, word.get_or_insert_default(), &mut line.notes),
            '$' if characters.next_if_eq(&'\'').is_some() => {
                quoted(&mut characters, Quotes::Dollar, word.get_or_insert_default(), &mut line.notes);
            }
            '$' => {
                line.notes.extend(variable(&characters));
                word.get_or_insert_default().push('$');
            }
            // A comment, or another command behind this one.
            '#' if word.is_none() => break,
            '|' | ';' | '>' | '<' => break,
            '&' if word.is_none() => break,
            blank if blank.is_whitespace() => line.words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    line.words.extend(word);
    line
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Single,
    Double,
    /// `$'…'`, with escapes as in C.
    Dollar,
}

fn quoted(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    quotes: Quotes,
    word: &mut String,
    notes: &mut Vec<String>,
) {
    let end = if quotes == Quotes::Double { '"' } else { '\'' };
    while let Some(character) = characters.next() {
        match character {
            '\\' if quotes == Quotes::Dollar => word.extend(escape(characters)),
            '\\' if quotes == Quotes::Double => match characters.next() {
                Some('\n') | None => {}
                Some(next) => {
                    if !"\"\\$`".contains(next) {
                        word.push('\\');
                    }
                    word.push(next);
                }
            },
            '$' if quotes == Quotes::Double => {
                notes.extend(variable(characters));
                word.push('$');
            }
            character if character == end => return,
            other => word.push(other),
        }
    }
    notes.push("a quote in the command does not end: all behind it is taken as one word".to_owned());
}

/// What is to be said of a variable, whose name comes behind `$`.
fn variable(rest: &std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let of_name = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
    let name: String = rest.clone().skip_while(|character| *character == '{').take_while(of_name).collect();
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts.then(|| format!("${name} is a variable of the shell: nothing is put in its place"))
}

/// What stands behind a backslash in `$'…'`.
fn escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let digits = |characters: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize| {
        let mut number = 0;
        for _ in 0..most {
            let Some(digit) = characters.peek().and_then(|character| character.to_digit(radix)) else {
                break;
            };
            characters.next();
            number = number * radix + digit;
        }
        char::from_u32(number)
    };
    Some(match characters.peek()? {
        '0'..='7' => return digits(characters, 8, 3),
        _ => match characters.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'e' | 'E' => '\x1b',
            'f' => '\x0c',
            'v' => '\x0b',
            'x' => return digits(characters, 16, 2),
            'u' => return digits(characters, 16, 4),
            'U' => return digits(characters, 16, 8),
            other => other,
        },
    })
}

/// `cmd` of Windows escapes with carets, and browsers escape every quote, from that before the URL on.
fn is_for_windows(command: &str) -> bool {
    command.contains(" ^\"http") || command.lines().any(|line| line.trim_end().ends_with(" ^"))
}

fn without_carets(command: &str) -> String {
    let mut plain = String::with_capacity(command.len());
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '^' => match characters.next() {
                Some('\r') => {
                    characters.next_if_eq(&'\n');
                    plain.push(' ');
                }
                Some('\n') => plain.push(' '),
                Some(next) => plain.push(next),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}
