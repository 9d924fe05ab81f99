//! Texts of one batch by the tokens that they hold: a counting sort, so that each row of the table is summed by one task.

/// The texts that each touched token stands in.
#[derive(Debug, Default)]
pub(super) struct Bags {
    /// Uses of each token of the vocabulary; zero between two batches.
    counts: Vec<u32>,
    /// Tokens that the batch touches, ascending.
    pub(super) touched: Vec<u32>,
    /// Where each touched token's texts begin in `texts`; one more at the end.
    pub(super) starts: Vec<usize>,
    /// Texts of the batch, by token, ascending within a token; a text stands as often as it holds the token.
    pub(super) texts: Vec<u32>,
}

impl Bags {
    /// Sorts a batch: `tokens` of all texts one after another, text `i` ends before `ends[i]`. Every token is below
    /// `vocabulary`.
    pub(super) fn sort(&mut self, vocabulary: usize, tokens: &[u32], ends: &[usize]) {
        self.counts.resize(vocabulary, 0);
        self.touched.clear();
        for &token in tokens {
            let count = &mut self.counts[token as usize];
            if *count == 0 {
                self.touched.push(token);
            }
            *count += 1;
        }
        self.touched.sort_unstable();
        self.starts.clear();
        let mut at = 0usize;
        for &token in &self.touched {
            self.starts.push(at);
            // From now on: the place of the token's next text.
            at += std::mem::replace(&mut self.counts[token as usize], at as u32) as usize;
        }
        self.starts.push(at);
        self.texts.resize(tokens.len(), 0);
        let mut from = 0;
        for (text, &end) in ends.iter().enumerate() {
            for &token in &tokens[from..end] {
                let place = &mut self.counts[token as usize];
                self.texts[*place as usize] = text as u32;
                *place += 1;
            }
            from = end;
        }
        for &token in &self.touched {
            self.counts[token as usize] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_under_their_tokens_in_order_and_nothing_stays_for_the_next_batch() {
        let mut bags = Bags::default();
        for _ in 0..2 {
            bags.sort(9, &[3, 3, 1, 8, 1], &[2, 2, 4, 5]);
            assert_eq!(bags.touched, [1, 3, 8]);
            assert_eq!(bags.starts, [0, 2, 4, 5]);
            assert_eq!(bags.texts, [2, 3, 0, 0, 2]);
        }
        bags.sort(9, &[], &[0, 0]);
        assert_eq!((bags.touched.len(), bags.starts.as_slice()), (0, &[0][..]));
    }
}
