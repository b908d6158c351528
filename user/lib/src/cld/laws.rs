// SPDX-License-Identifier: GPL-2.0
//! What must hold of an upcall: see [`crate::laws`].

use super::*;

/// What is read can be answered, in a message of the same length and xid.
pub fn upcall(input: &[u8]) {
    let answers = match Upcall::parse(input) {
        Err(NoUpcall::Odd(length)) => return assert_eq!(length, input.len()),
        Err(NoUpcall::Unknown { answer, .. }) => vec![answer],
        Ok(upcall) => {
            let client = Client::new(Owner::new("one").unwrap(), Some([7; HASH]));
            let answers = vec![
                upcall.answer(Ok(())),
                upcall.answer(Err(Errno::NOSPC)),
                upcall.record(&client),
            ];
            if let Command::Create(client) = upcall.command {
                let again = Upcall {
                    command: Command::GraceStart,
                    message: input.to_vec(),
                };
                let record = Upcall::parse(&again.record(&client)).unwrap().command;
                assert_eq!(record, Command::Create(client));
            }
            answers
        }
    };
    for answer in answers {
        assert_eq!(answer.len(), input.len());
        assert_eq!(
            (answer[..2] == input[..2], &answer[4..8]),
            (true, &input[4..8])
        );
    }
}
