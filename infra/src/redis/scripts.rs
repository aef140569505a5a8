//! Scripts: sent by their hash, and loaded by whoever finds that a server does not know them.

use redis::{Cmd, Pipeline, ServerErrorKind, Value};

use super::{RedisFault, links::Link};

/// A script in Lua.
#[derive(Debug)]
pub struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    /// A script of that text.
    pub fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    fn call(&self, call: &Call) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(call.keys.len()).arg(&call.keys);
        for arg in &call.args {
            command.arg(arg.as_slice());
        }
        command
    }

    fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.code);
        command
    }
}

/// One call of a script: its keys, all of one slot, and its arguments.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The keys.
    pub keys: Vec<String>,
    /// The arguments.
    pub args: Vec<Vec<u8>>,
}

impl Call {
    /// A call on that key.
    pub fn on(key: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], args: Vec::new() }
    }

    /// Another argument.
    pub fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Another argument, which is a number.
    pub fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }
}

/// Calls in one pipeline, and the answers in their order; what the server refused is among them as an error.
pub(super) async fn run(link: &Link, script: &Script, calls: &[Call]) -> Result<Vec<Value>, RedisFault> {
    let mut commands = Pipeline::with_capacity(calls.len());
    for call in calls {
        commands.add_command(script.call(call));
    }
    let mut answers = link.run(&commands).await?;
    let unknown: Vec<_> = (0..answers.len()).filter(|at| is_unknown(&answers[*at])).collect();
    if !unknown.is_empty() {
        let mut commands = Pipeline::with_capacity(unknown.len() + 1);
        commands.add_command(script.load());
        for at in &unknown {
            commands.add_command(script.call(&calls[*at]));
        }
        let second = link.run(&commands).await?.into_iter().skip(1);
        for (at, answer) in unknown.into_iter().zip(second) {
            answers[at] = answer;
        }
    }
    Ok(answers)
}

fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
