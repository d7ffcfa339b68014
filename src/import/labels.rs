//! Class labels in a property of the model, in the forms that exporters write.

/// The labels of a JSON list or object, of a Python list or dict as its `repr` is (`{0: 'cat', 1: "it's"}`), or of
/// names with commas or line ends between them; `None` of anything else. Numbered labels must be numbered from 0.
pub(super) fn parse(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let inner = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    let labels = if let Some(list) = inner('[', ']').or_else(|| inner('(', ')')) {
        Cursor(list).list()?
    } else if let Some(dict) = inner('{', '}') {
        let mut numbered = Cursor(dict).dict()?;
        numbered.sort_by_key(|&(number, _)| number);
        let ordered = numbered.iter().enumerate().all(|(i, &(number, _))| i == number);
        ordered.then(|| numbered.into_iter().map(|(_, label)| label).collect())?
    } else if text.starts_with(['[', '(', '{']) {
        return None;
    } else {
        text.split([',', '\n'])
            .map(|label| label.trim().to_owned())
            .filter(|label| !label.is_empty())
            .collect()
    };
    // One name is no list.
    (labels.len() > 1).then_some(labels)
}

/// The text that is left.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn skip(&mut self, sign: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(sign)?;
        Some(())
    }

    fn is_at_end(&self) -> bool {
        self.0.trim_start().is_empty()
    }

    /// A string in quotes of either kind, with the escapes that both languages have.
    fn quoted(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|sign| matches!(sign, '"' | '\''))?;
        let mut label = String::new();
        let mut signs = text.char_indices().skip(1);
        while let Some((at, sign)) = signs.next() {
            match sign {
                '\\' => match signs.next()?.1 {
                    'n' => label.push('\n'),
                    't' => label.push('\t'),
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + signs.next()?.1.to_digit(16)?;
                        }
                        label.push(char::from_u32(code)?);
                    }
                    other => label.push(other),
                },
                sign if sign == quote => {
                    self.0 = text.get(at + sign.len_utf8()..)?;
                    return Some(label);
                }
                sign => label.push(sign),
            }
        }
        None
    }

    /// A number, in quotes or not.
    fn number(&mut self) -> Option<usize> {
        if let Some(quoted) = self.quoted() {
            return quoted.parse().ok();
        }
        let text = self.0.trim_start();
        let end = text
            .find(|sign: char| !sign.is_ascii_digit())
            .unwrap_or(text.len());
        self.0 = text.get(end..)?;
        text.get(..end)?.parse().ok()
    }

    fn list(mut self) -> Option<Vec<String>> {
        let mut labels = Vec::new();
        while !self.is_at_end() {
            labels.push(self.quoted()?);
            if self.skip(',').is_none() && !self.is_at_end() {
                return None;
            }
        }
        Some(labels)
    }

    fn dict(mut self) -> Option<Vec<(usize, String)>> {
        let mut labels = Vec::new();
        while !self.is_at_end() {
            let number = self.number()?;
            self.skip(':')?;
            labels.push((number, self.quoted()?));
            if self.skip(',').is_none() && !self.is_at_end() {
                return None;
            }
        }
        Some(labels)
    }
}
