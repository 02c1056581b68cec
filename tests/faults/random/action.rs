//! What can happen to a job.

/// A source of choices; the same seed gives the same choices (SplitMix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}

/// One action. Numbers that choose among what there is are taken modulo its count.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// New samples with ids.
    Post(u64),
    /// New samples without ids.
    PostUnnamed(usize),
    /// Acknowledged samples again.
    Resend(u64),
    /// An acknowledged id with other values.
    Reuse(u64),
    /// New samples over TCP.
    Feed(u64),
    Label(u64),
    Withdraw(u64),
    /// Samples until the log is full, or this many requests.
    Flood(u64),
    /// Labels, many at once.
    FloodLabels(u64),
    Pause,
    Resume,
    Checkpoint,
    /// Nothing, for this many milliseconds.
    Idle(u64),
    /// SIGKILL after this many milliseconds, while other actions go on.
    Kill(u64),
    Terminate,
    /// The job is started again with another value of a setting that may change.
    Change(u64),
    /// The job is killed, and the log ends earlier, or is zero from there on.
    CutLog(u64),
    /// The job is killed, and its newest checkpoint is gone.
    DropCheckpoint,
    /// The disk is full for this many milliseconds.
    FillDisk(u64),
    /// All must be trained on, and a new sample as well.
    Quiet,
}

impl Action {
    /// Draws an action; those that begin the job anew are rarer.
    pub fn draw(chance: &mut Chance) -> Self {
        match chance.below(100) {
            0..14 => Self::Post(1 + chance.below(40)),
            14..24 => Self::PostUnnamed(1 + chance.below(40) as usize),
            24..34 => Self::Resend(chance.draw()),
            34..41 => Self::Reuse(chance.draw()),
            41..51 => Self::Feed(1 + chance.below(60)),
            51..58 => Self::Label(chance.draw()),
            58..61 => Self::Withdraw(chance.draw()),
            61..65 => Self::Flood(10 + chance.below(40)),
            65..67 => Self::FloodLabels(10 + chance.below(50)),
            67..71 => Self::Pause,
            71..74 => Self::Resume,
            74..77 => Self::Checkpoint,
            77..82 => Self::Idle(50 + chance.below(800)),
            82..88 => Self::Kill(chance.below(400)),
            88..91 => Self::Terminate,
            91..93 => Self::Change(chance.draw()),
            93..96 => Self::CutLog(chance.draw()),
            96..98 => Self::DropCheckpoint,
            _ => Self::FillDisk(300 + chance.below(1500)),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Post(_) => "post",
            Self::PostUnnamed(_) => "post without ids",
            Self::Resend(_) => "resend",
            Self::Reuse(_) => "reuse an id",
            Self::Feed(_) => "feed over TCP",
            Self::Label(_) => "label",
            Self::Withdraw(_) => "withdraw",
            Self::Flood(_) => "flood",
            Self::FloodLabels(_) => "flood of labels",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Checkpoint => "checkpoint",
            Self::Idle(_) => "idle",
            Self::Kill(_) => "SIGKILL",
            Self::Terminate => "SIGTERM",
            Self::Change(_) => "change a key",
            Self::CutLog(_) => "cut the log",
            Self::DropCheckpoint => "drop the newest checkpoint",
            Self::FillDisk(_) => "fill the disk",
            Self::Quiet => "quiet",
        }
    }
}
