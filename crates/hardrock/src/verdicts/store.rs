//! The store: one SQLite file in write-ahead mode, so that several writers share it and a killed one loses nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::plan::{Plan, Slot};
use super::{Answer, Record};
use crate::{Error, Result};

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
create table if not exists verdicts (
    id integer primary key autoincrement, query text not null, doc text not null, answer text not null,
    judge text not null, at integer not null, drawn real, note text);
create index if not exists pairs on verdicts (query, doc);
create table if not exists plans (
    id integer primary key autoincrement, content text not null, verdicts integer not null);
create table if not exists slots (
    plan integer not null, place integer not null, query text not null, slot integer not null, holders text not null,
    primary key (plan, place));
create table if not exists answers (key text primary key, value text not null);
";

/// Verdicts, plans of promises with their slots, and answers of judges that cost money.
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the store, or makes it.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = Error::format(path);
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open(path)?;
            db.busy_timeout(PATIENCE)?;
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "full")?;
            db.execute_batch(TABLES)?;
            Ok(db)
        };
        Ok(Self { db: open().map_err(failed)?, path: path.to_owned() })
    }

    fn said<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(Error::format(&self.path))
    }

    /// Adds a verdict; it is on the disk when this returns.
    pub fn add(&self, r: &Record) -> Result<()> {
        let done = self.db.execute(
            "insert into verdicts (query, doc, answer, judge, at, drawn, note) values (?, ?, ?, ?, ?, ?, ?)",
            params![r.query_id, r.doc_id, r.answer.name(), r.judge, r.at as i64, r.drawn, r.note],
        );
        self.said(done).map(|_| ())
    }

    /// Takes back the last verdict of this judge, and says which one it was.
    pub fn undo(&self, judge: &str) -> Result<Option<Record>> {
        let last = self.said(
            self.db
                .query_row(
                    "select query, doc, answer, judge, at, drawn, note, id from verdicts where judge = ? order by id desc limit 1",
                    [judge],
                    |row| Ok((row.get::<_, i64>(7)?, record(row)?)),
                )
                .optional(),
        )?;
        let Some((id, record)) = last else { return Ok(None) };
        self.said(self.db.execute("delete from verdicts where id = ?", [id]))?;
        record.map(Some).map_err(|e| Error::input(&self.path, None, e, "the store is damaged"))
    }

    fn records(&self, sql: &str) -> Result<Vec<Record>> {
        let mut statement = self.said(self.db.prepare(sql))?;
        let rows = self.said(statement.query_map([], record))?;
        let mut out = Vec::new();
        for row in rows {
            let row = self.said(row)?;
            out.push(row.map_err(|e| Error::input(&self.path, None, e, "the store is damaged"))?);
        }
        Ok(out)
    }

    /// Every verdict, in the order in which it was given.
    pub fn all(&self) -> Result<Vec<Record>> {
        self.records("select query, doc, answer, judge, at, drawn, note from verdicts order by id")
    }

    /// The last verdict on each pair, in the order of the pairs.
    pub fn latest(&self) -> Result<Vec<Record>> {
        self.records(
            "select query, doc, answer, judge, at, drawn, note from verdicts
             where id in (select max(id) from verdicts group by query, doc) order by query, doc",
        )
    }

    /// Number of verdicts.
    pub fn len(&self) -> Result<u64> {
        let n: i64 = self.said(self.db.query_row("select count(*) from verdicts", [], |r| r.get(0)))?;
        Ok(n as u64)
    }

    /// Whether nothing was judged.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Stores a plan and its slots as one, and notes how many verdicts were there before it.
    pub fn add_plan(&mut self, plan: &Plan, slots: &[Slot]) -> Result<()> {
        let text = json(plan)?;
        let holders: Vec<String> = slots.iter().map(|s| json(&s.holders)).collect::<Result<_>>()?;
        let path = self.path.clone();
        let mut work = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            transaction
                .execute("insert into plans (content, verdicts) select ?, count(*) from verdicts", [&text])?;
            let id = transaction.last_insert_rowid();
            for ((place, slot), holders) in slots.iter().enumerate().zip(&holders) {
                transaction.execute(
                    "insert into slots (plan, place, query, slot, holders) values (?, ?, ?, ?, ?)",
                    params![id, place as i64, slot.query_id, slot.slot as i64, holders],
                )?;
            }
            transaction.commit()
        };
        work().map_err(Error::format(&path))
    }

    /// The plans in the order in which they were made.
    pub fn plans(&self) -> Result<Vec<Plan>> {
        let mut statement =
            self.said(self.db.prepare("select id, content, verdicts from plans order by id"))?;
        let rows = self.said(
            statement
                .query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, r.get::<_, i64>(2)?))),
        )?;
        let mut out = Vec::new();
        for row in rows {
            let (id, text, verdicts) = self.said(row)?;
            let mut plan: Plan = self.parse(&text)?;
            (plan.id, plan.verdicts_before) = (id as u64, verdicts as u64);
            out.push(plan);
        }
        Ok(out)
    }

    /// The slots of a plan in the order in which they are to be judged.
    pub fn slots(&self, plan: u64) -> Result<Vec<Slot>> {
        let mut statement = self
            .said(self.db.prepare("select query, slot, holders from slots where plan = ? order by place"))?;
        let rows = self.said(statement.query_map([plan as i64], |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?, r.get::<_, String>(2)?))
        }))?;
        let mut out = Vec::new();
        for row in rows {
            let (query_id, slot, holders) = self.said(row)?;
            out.push(Slot { query_id, slot: slot as usize, holders: self.parse(&holders)? });
        }
        Ok(out)
    }

    /// An answer that was kept under this key.
    pub fn kept(&self, key: &str) -> Result<Option<String>> {
        let found = self.db.query_row("select value from answers where key = ?", [key], |r| r.get(0));
        self.said(found.optional())
    }

    /// Keeps an answer.
    pub fn keep(&self, key: &str, value: &str) -> Result<()> {
        let done = self.db.execute("insert or replace into answers (key, value) values (?, ?)", [key, value]);
        self.said(done).map(|_| ())
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text)
            .map_err(|e| Error::input(&self.path, None, format!("not a plan of this version: {e}"), ""))
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::usage(e.to_string(), ""))
}

fn record(row: &Row<'_>) -> rusqlite::Result<std::result::Result<Record, String>> {
    let answer: String = row.get(2)?;
    let Some(answer) = Answer::from_name(&answer) else {
        return Ok(Err(format!("unknown answer `{answer}`")));
    };
    Ok(Ok(Record {
        query_id: row.get(0)?,
        doc_id: row.get(1)?,
        answer,
        judge: row.get(3)?,
        at: row.get::<_, i64>(4)?.max(0) as u64,
        drawn: row.get(5)?,
        note: row.get(6)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn the_last_verdict_on_a_pair_counts_and_undo_takes_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        store.add(&record("q2", "d", Answer::Unsure)).unwrap();
        store.add(&record("q1", "d", Answer::Not)).unwrap();
        store.add(&record("q1", "d", Answer::Relevant)).unwrap();
        let latest: Vec<_> = store.latest().unwrap().into_iter().map(|r| (r.query_id, r.answer)).collect();
        assert_eq!(latest, [("q1".into(), Answer::Relevant), ("q2".into(), Answer::Unsure)]);
        assert_eq!(store.undo("me").unwrap().unwrap().answer, Answer::Relevant);
        assert_eq!(store.latest().unwrap()[0].answer, Answer::Not);
        assert_eq!((store.len().unwrap(), store.undo("nobody").unwrap()), (2, None));
    }

    #[test]
    fn eight_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.sqlite");
        Store::open(&path).unwrap();
        std::thread::scope(|scope| {
            for w in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let store = Store::open(path).unwrap();
                    for i in 0..10 {
                        store.add(&record(&format!("q{w}"), &i.to_string(), Answer::Not)).unwrap();
                    }
                });
            }
        });
        assert_eq!(Store::open(&path).unwrap().latest().unwrap().len(), 80);
    }

    #[test]
    fn a_plan_remembers_what_was_judged_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("v.sqlite")).unwrap();
        store.add(&record("q", "d", Answer::Not)).unwrap();
        let slots = [Slot {
            query_id: "q9".into(),
            slot: 2,
            holders: vec![None, Some("d1".into()), Some("d2".into())],
        }];
        let plan = Plan { share: 0.05, grid: vec![0.1, 0.2, 1.0], k: 5, ..Plan::default() };
        store.add_plan(&plan, &slots).unwrap();
        let plans = store.plans().unwrap();
        assert_eq!((plans[0].verdicts_before, plans[0].grid.clone()), (1, vec![0.1, 0.2, 1.0]));
        assert_eq!(store.slots(plans[0].id).unwrap(), slots);
    }

    #[test]
    fn a_file_that_is_no_store_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.sqlite");
        std::fs::write(&path, "query\tdoc\n".repeat(400)).unwrap();
        let error = Store::open(&path).err().unwrap();
        assert!(error.to_string().contains("v.sqlite") && error.exit_code() == 2, "{error}");
    }
}
