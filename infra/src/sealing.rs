//! Sealing: secrets at rest are encrypted under the master key and bound to their row.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use chacha20poly1305::{KeyInit, XChaCha20Poly1305, aead::Aead, aead::Payload};
use fanfare_domain::cursors::Cursors;
use hkdf::Hkdf;
use rand::Rng;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

/// The first byte of everything sealed in this format.
const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// The key that all other keys of an installation are derived from.
#[derive(Clone)]
pub struct MasterKey(Arc<SecretBox<[u8; 32]>>);

/// Why there is no usable master key.
#[derive(Debug, thiserror::Error)]
pub enum BadMasterKey {
    /// The text is not a key.
    #[error("a master key is 64 hexadecimal digits")]
    Malformed,
    /// The file holds something else.
    #[error("`{0}` does not hold a master key: it is 64 hexadecimal digits")]
    MalformedFile(PathBuf),
    /// Others on this machine could read the key.
    #[error("`{path}` has mode {mode:o}, so others may read the master key: run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file could not be read or made.
    #[error("the master key in `{path}` could not be read or made: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self(Arc::new(SecretBox::new(Box::new(key))))
    }

    /// Reads a key from 64 hexadecimal digits.
    pub fn from_hex(text: &SecretString) -> Result<Self, BadMasterKey> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.expose_secret().trim(), &mut key).map_err(|_| BadMasterKey::Malformed)?;
        Ok(Self(Arc::new(SecretBox::new(Box::new(key)))))
    }

    /// Reads the key from a file that only its owner may read; makes both where there is no file.
    pub fn load_or_create(path: &Path) -> Result<Self, BadMasterKey> {
        let failed = |source| BadMasterKey::Io { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(found) => {
                let mode = found.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(BadMasterKey::Exposed { path: path.to_owned(), mode });
                }
                let text = SecretString::from(fs::read_to_string(path).map_err(failed)?);
                Self::from_hex(&text).map_err(|_| BadMasterKey::MalformedFile(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate();
                key.write_to(path).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The file appears whole or not at all, and stays if the machine stops.
    fn write_to(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{}", hex::encode(self.0.expose_secret()))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    fn derive<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let mut derived = [0; N];
        Hkdf::<Sha256>::new(Some(b"fanfare"), self.0.expose_secret())
            .expand(purpose.as_bytes(), &mut derived)
            .expect("a key is shorter than the most that HKDF gives");
        derived
    }
}

/// What was sealed cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed under a key that is not here.
    #[error("it is sealed under the master key `{0}`, which is not given")]
    UnknownKey(String),
    /// It is damaged, or was moved here from another row.
    #[error("it is damaged or belongs to another row")]
    Damaged,
}

struct Key {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
    cursors: SecretBox<[u8; 32]>,
}

impl Key {
    fn new(master: &MasterKey) -> Self {
        Self {
            id: master.derive("key id 1"),
            cipher: XChaCha20Poly1305::new(&master.derive::<32>("sealing 1").into()),
            cursors: SecretBox::new(Box::new(master.derive("cursors 1"))),
        }
    }
}

/// Seals secrets under the current master key, and opens those under it or the one before.
#[derive(Clone)]
pub struct Sealer(Arc<[Key]>);

impl Sealer {
    /// A sealer under `current`; what was sealed under `old` can still be opened.
    pub fn new(current: &MasterKey, old: Option<&MasterKey>) -> Self {
        Self(std::iter::once(current).chain(old).map(Key::new).collect())
    }

    /// The current key's name, which does not tell the key.
    pub fn key_id(&self) -> String {
        hex::encode(self.0[0].id)
    }

    /// Signs cursors under keys of their own, and knows those under the old master key.
    pub fn cursors(&self) -> Cursors {
        let old = self.0.get(1).map(|key| key.cursors.expose_secret());
        Cursors::new(self.0[0].cursors.expose_secret(), old)
    }

    /// Seals a secret for one column of one row; nowhere else can it be opened.
    pub fn seal(&self, column: &str, row: &str, secret: &SecretString) -> Vec<u8> {
        let key = &self.0[0];
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &place(column, row) };
        let sealed = key.cipher.encrypt(&nonce.into(), payload).expect("a short secret can be encrypted");
        [&[FORMAT][..], &key.id, &nonce, &sealed].concat()
    }

    /// Opens what was sealed for that column and row.
    pub fn open(&self, column: &str, row: &str, sealed: &[u8]) -> Result<SecretString, OpenError> {
        let (header, text) = sealed.split_at_checked(HEADER_BYTES).ok_or(OpenError::Damaged)?;
        if header[0] != FORMAT {
            return Err(OpenError::Damaged);
        }
        let (id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("the header ends with the nonce");
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| OpenError::UnknownKey(hex::encode(id)))?;
        let payload = Payload { msg: text, aad: &place(column, row) };
        let opened = key.cipher.decrypt(&nonce.into(), payload).map_err(|_| OpenError::Damaged)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| OpenError::Damaged)
    }
}

fn place(column: &str, row: &str) -> Vec<u8> {
    [column.as_bytes(), &[0], row.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SecretString {
        SecretString::from("fs_secret".to_owned())
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_own_row() {
        let sealer = Sealer::new(&MasterKey::generate(), None);
        let sealed = sealer.seal("api_keys.secret", "fk_1", &secret());
        assert_eq!(sealer.open("api_keys.secret", "fk_1", &sealed).unwrap().expose_secret(), "fs_secret");
        assert_eq!(sealer.open("api_keys.secret", "fk_2", &sealed).unwrap_err(), OpenError::Damaged);
        assert_eq!(sealer.open("api_keys.previous_secret", "fk_1", &sealed).unwrap_err(), OpenError::Damaged);
        assert!(!sealed.windows(9).any(|window| window == b"fs_secret"));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let sealer = Sealer::new(&MasterKey::generate(), None);
        let sealed = sealer.seal("c", "r", &secret());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("c", "r", &changed).is_err(), "byte {at}");
        }
        assert_eq!(sealer.open("c", "r", &sealed[..20]).unwrap_err(), OpenError::Damaged);
    }

    #[test]
    fn the_old_master_key_still_opens_and_a_foreign_one_is_named() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let before = Sealer::new(&old, None);
        let sealed = before.seal("c", "r", &secret());
        assert!(Sealer::new(&new, Some(&old)).open("c", "r", &sealed).is_ok());
        assert_eq!(
            Sealer::new(&new, None).open("c", "r", &sealed).unwrap_err(),
            OpenError::UnknownKey(before.key_id())
        );
    }

    #[test]
    fn a_master_key_is_64_hexadecimal_digits() {
        let read = |text: &str| MasterKey::from_hex(&SecretString::from(text.to_owned()));
        assert!(read(&"0a".repeat(32)).is_ok());
        assert!(read(&format!("{}\n", "0A".repeat(32))).is_ok());
        for bad in ["", "0a", &"0a".repeat(33), &"zz".repeat(32)] {
            assert!(matches!(read(bad), Err(BadMasterKey::Malformed)), "{bad}");
        }
    }
}
