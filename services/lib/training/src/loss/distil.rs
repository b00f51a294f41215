//! Staying close to a teacher: by the direction of its embeddings, or by whom it takes a photo for (Hinton et al. 2015).

use super::logits::{Units, softmax};
use super::real::{Real, dot};

/// What the teacher makes of a batch. Either may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Teacher<'a, R> {
    /// Its embeddings, of the student's length.
    pub features: &'a [R],
    /// Its logits over the same people.
    pub logits: &'a [R],
}

/// Sum of `weight · (1 − cosine)`; adds the derivative by the student's embeddings.
pub(super) fn features<R: Real>(student: &[R], teacher: &[R], n: usize, weight: R, gradient: &mut [R]) -> R {
    let dim = student.len() / n;
    let (s, t) = (Units::of(student, dim), Units::of(teacher, dim));
    let cosines = s.rows.chunks_exact(dim).zip(t.rows.chunks_exact(dim)).map(|(a, b)| dot(a, b));
    let loss = cosines.fold(R::ZERO, |sum, c| sum + weight * (R::ONE - c));
    let by_unit = t.rows.iter().map(|v| -weight * *v).collect();
    let added = s.backward(by_unit, dim);
    gradient.iter_mut().zip(added).for_each(|(g, a)| *g = *g + a);
    loss
}

/// Sum of `weight · T² · KL(teacher ‖ student)` of both softened by T; adds the derivative by the student's logits.
pub(super) fn logits<R: Real>(
    (student, teacher): (&[R], &[R]),
    n: usize,
    temperature: R,
    weight: R,
    gradient: &mut [R],
) -> R {
    let classes = student.len() / n;
    let (mut p, mut q) = (vec![R::ZERO; classes], vec![R::ZERO; classes]);
    let mut loss = R::ZERO;
    let rows = student.chunks_exact(classes).zip(teacher.chunks_exact(classes)).zip(gradient.chunks_exact_mut(classes));
    for ((s, t), g) in rows {
        let of_student = softmax(s, temperature, &mut q);
        let of_teacher = softmax(t, temperature, &mut p);
        for (k, g) in g.iter_mut().enumerate() {
            let (log_p, log_q) = (t[k] / temperature - of_teacher, s[k] / temperature - of_student);
            loss = loss + weight * temperature * temperature * p[k] * (log_p - log_q);
            *g = *g + weight * temperature * (q[k] - p[k]);
        }
    }
    loss
}
